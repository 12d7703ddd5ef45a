"""One HTTP/1.1 request as bytes, and the answer to it as it comes in. No network here.

Source of the rules: RFC 9110 (fields, statuses) and RFC 9112 (messages, framing).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import httptools

from standart.webhooks.addresses import DEFAULT_PORTS, Target

EXCERPT_LIMIT = 4 * 1024
"""Bytes of the answer's body that are kept."""

_DEFAULTS = {
    "content-type": "Content-Type: application/json\r\n",
    "accept-encoding": "Accept-Encoding: identity\r\n",
}

# They say where the message goes and how it is framed, which is not the caller's to say.
_OWN = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding"}
    | {"keep-alive", "proxy-connection", "upgrade"}
)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSENDABLE = re.compile(r"[^\x01-\x09\x0b\x0c\x0e-\xff]")


class BadHeader(ValueError):
    """A header cannot be sent as it is; the text names it."""


class Malformed(Exception):
    """The answer is not HTTP."""


class Meter:
    """Counts the bytes that one attempt receives, over all its connections; ``limit`` in bytes."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.exceeded = False

    def admit(self, data: bytes) -> bytes:
        """Take note of received bytes, and return those that are within the limit.

        Bytes within the limit are never thrown away with those above it, so what a peer said
        before it said too much is still heard.
        """
        self.left -= len(data)
        if self.left >= 0:
            return data
        self.exceeded = True
        admitted = data[: self.left]
        self.left = 0
        return admitted


def request_line(target: Target) -> str:
    """Return the lines of a request that depend on its URL alone: request line and ``Host``.

    Built from the parts of the URL that were checked; nothing is parsed again.
    """
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.port != DEFAULT_PORTS[target.scheme]:
        host = f"{host}:{target.port}"
    return f"POST {target.path} HTTP/1.1\r\nHost: {host}\r\n"


def request_bytes(first: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the POST of ``body`` as it goes over the wire; ``first`` is from ``request_line``.

    Raises BadHeader for a name that is no token, a value with CR, LF, NUL or characters beyond
    Latin-1 (RFC 9110 section 5.5), and for the headers that are the sender's own.
    """
    names = [_sendable(name) for name in headers]
    if None in names or _UNSENDABLE.search("".join(headers.values())):
        raise BadHeader(f"the header {_unsendable(headers)[:100]!a} cannot be sent")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    for name, line in _DEFAULTS.items():
        if name not in names:
            lines += line
    return f"{first}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def _unsendable(headers: Mapping[str, str]) -> str:
    """Return the first name whose header cannot be sent."""
    return next(
        name
        for name, value in headers.items()
        if _sendable(name) is None or _UNSENDABLE.search(value)
    )


@lru_cache(maxsize=256)
def _sendable(name: str) -> str | None:
    """Return the name in lower case, or None when it is none or not the caller's to send."""
    lower = name.lower()
    return lower if _NAME.fullmatch(name) and lower not in _OWN else None


class Answer:
    """What has come in of one answer; it stays when the deadline ends the rest.

    ``status`` is None until the head of the final answer is complete: interim ones are passed
    over, except 101, after which no HTTP follows. ``fields`` are the header fields as they came.
    """

    __slots__ = ("_parser", "body", "complete", "fields", "first_byte_at", "reusable", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.first_byte_at: float | None = None
        self.complete = False
        self.reusable = False
        self._parser = httptools.HttpResponseParser(self)
        # A recipient may be generous where no meaning depends on it (RFC 9112 sections 2.2 and
        # 7.1): receivers end lines by LF alone, and pad the sizes of chunks. Nothing is passed on
        # to anybody who could read it in another way.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_data_after_close=True,
        )

    def feed(self, data: bytes) -> None:
        """Take in more bytes; raises Malformed. What follows a complete answer is dropped."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.reusable = False
        except httptools.HttpParserError:
            self.reusable = False
            if not self.complete:
                raise Malformed from None

    def end(self) -> bool:
        """Take note that the peer sends no more; return whether the answer is complete.

        It is when it was before, and when its body has no other end than that of the connection
        (RFC 9112 section 6.3, rule 8).
        """
        self.complete = self.complete or (self.status is not None and not self._is_framed())
        return self.complete

    def field(self, name: bytes) -> str | None:
        """Return the first field of this lower-case name."""
        for each, value in self.fields:
            if each.lower() == name:
                return value.decode("latin-1")
        return None

    def _is_framed(self) -> bool:
        coding = self.field(b"transfer-encoding")
        if coding is not None:
            return coding.rpartition(",")[2].strip().lower() == "chunked"
        return self.field(b"content-length") is not None

    # What the parser calls.

    def on_message_begin(self) -> None:
        """See the start of an answer; after the final one it is more than was asked for."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; those behind the body (trailers) do not count."""
        if self.status is None:
            self.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Tell the final answer from those before it."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 100:
            raise Malformed
        if 100 <= status <= 199 and status != 101:
            self.fields.clear()
            return
        self.status = status
        self.complete = status == 101

    def on_body(self, data: bytes) -> None:
        """Keep the start of the body."""
        room = EXCERPT_LIMIT - len(self.body)
        if room > 0 and not self.complete:
            self.body += data[:room]

    def on_message_complete(self) -> None:
        """See the end of an answer, be it an interim one."""
        if self.status is not None and not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
