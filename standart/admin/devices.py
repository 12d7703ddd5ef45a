"""What a browser calls itself, as people call it: Firefox 128, Windows."""

from __future__ import annotations


def device(user_agent: str) -> str:
    """Return browser and system; the whole text where ua-parser knows no such browser."""
    # Its table of names is of a megabyte, for two pages that few open.
    from ua_parser import parse_os, parse_user_agent

    browser = parse_user_agent(user_agent)
    if browser is None:
        return user_agent
    system = parse_os(user_agent)
    called = " ".join(part for part in (browser.family, browser.major) if part)
    return f"{called}, {system.family}" if system else called
