"""The chain's head outside the database: in a file, or told to a URL.

Whoever owns the database can make its chain anew; what was left elsewhere before shows it.
"""

from __future__ import annotations

import fcntl
import json
import os
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.error import HTTPError, URLError

from standart.services.chain import Link
from standart.setting_kinds import shown_url

_TAIL_BYTES: Final = 4096
_SECONDS: Final = 10


class AnchorFailed(Exception):
    """The head could not be left outside; the message says why."""


def leave(place: str, head: Link, links_after: Callable[[int], Iterable[Link]]) -> None:
    """Leave the chain at ``place``: its head at a URL, in a file all links that it lacks.

    ``links_after`` returns the links behind a number, in order.

    Raises:
        AnchorFailed: the place cannot be reached or written, or does not belong to this chain.
    """
    try:
        if place.startswith(("https://", "http://")):
            _tell(place, head)
        else:
            _append(Path(place), head, links_after)
    except (OSError, URLError, ValueError) as error:
        raise AnchorFailed(f"{shown_url(place)}: {error}") from error


def line_of(link: Link) -> bytes:
    """Return a link as a line of an anchor file or an export."""
    return json.dumps(link.wire()).encode() + b"\n"


def _append(path: Path, head: Link, links_after: Callable[[int], Iterable[Link]]) -> None:
    with path.open("ab+") as file:
        # Workers may share the file; a line stands there once.
        fcntl.flock(file, fcntl.LOCK_EX)
        known, begun = _ending(file)
        number = int(known.get("number", 0))
        if number == head.number and known.get("hash") != head.hash.hex():
            raise ValueError(f"seal {number} there has another hash than here")
        if number > head.number:
            raise ValueError(f"it ends with seal {number}, the chain here with {head.number}")
        for link in links_after(number):
            if link.number != number + 1:
                raise ValueError(f"seal {number + 1} is missing here")
            if number and link.previous.hex() != known.get("hash"):
                raise ValueError(f"seal {number} there is not the one before {link.number} here")
            line = line_of(link)
            if not line.startswith(begun):
                break
            # A full disk may have cut it off; where files only grow nobody else could mend it.
            file.write(line[len(begun) :])
            number, known, begun = link.number, link.wire(), b""
        if begun:
            raise ValueError("its last line is not whole, nor the beginning of what is missing")
        file.flush()
        os.fsync(file.fileno())


def _ending(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Return what the last whole line says, nothing where there is none, and what follows it.

    Raises:
        ValueError: it is no line of ours.
    """
    end = file.seek(0, os.SEEK_END)
    begins = max(0, end - _TAIL_BYTES)
    file.seek(begins)
    whole, newline, begun = file.read().rpartition(b"\n")
    if not newline:
        if begins:
            raise ValueError("its last line is too long")
        return {}, begun
    found = json.loads(whole.rpartition(b"\n")[2])
    if not isinstance(found, dict) or not isinstance(found.get("number"), int):
        raise ValueError("its last line is no seal")
    return found, begun


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A place that answers with another place has not taken the head."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def _tell(url: str, head: Link) -> None:
    # The operator's own choice, so any address; no proxy of the environment stands between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    request = urllib.request.Request(  # noqa: S310 - the setting allows http and https only
        url,
        data=line_of(head),
        headers={"Content-Type": "application/json", "User-Agent": "Standart"},
        method="POST",
    )
    try:
        opener.open(request, timeout=_SECONDS).close()
    except HTTPError as refusal:
        # It is the answer as well, with its connection.
        refusal.close()
        raise
