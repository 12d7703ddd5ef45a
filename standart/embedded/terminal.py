"""What `up` says to the person who started it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show that something takes its time, and how long it took."""
    started = time.monotonic()
    _write(f"  {name} ... ")
    try:
        yield
    except BaseException:
        _write("\n")
        raise
    _write(f"{time.monotonic() - started:.1f} s\n")


def say(line: str) -> None:
    """Write one line at once."""
    _write(f"{line}\n")


def _write(text: str) -> None:
    with suppress(BrokenPipeError):  # the tree goes on when nobody reads any more
        sys.stdout.write(text)
        sys.stdout.flush()


def introduce(url: str, prepared: Mapping[str, Any]) -> None:
    """Show where everything is, and once the secrets of a first start."""
    first = prepared["first_users"]
    say("")
    say(f"  panel     {url}/admin/")
    say(f"  API       {url}/apidocs/")
    if first:
        say(f"  login     {first['admin']}  password {first['password']}")
        say(f"  API key   {first['api_key']}  (merchant {first['merchant']})")
        say("")
        say("  Password and key are shown this once. Try:")
        say("")
        say(f"  curl -X POST {url}/create_transaction \\")
        say(f"    -H 'Authorization: Bearer {first['api_key']}' \\")
        say("    -H 'Content-Type: application/json' -d '{\"amount\": \"100.00\"}'")
    say("")


def bracketed(host: str) -> str:
    """Return ``host`` as a URL wants it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
