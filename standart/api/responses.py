"""What every answer is sent with: the request's id, and headers that keep browsers harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, request

from standart.clock import new_id
from standart.extensions import nudge
from standart.services.idempotency_service import Answer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

JSON: Final = "application/json"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_REQUEST_ID_SLOT: Final = "standart.request_id"

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)
_HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")


def request_id() -> str:
    """Return the id of the current request: the client's own if it is sane, else a new one."""
    environ = request.environ
    known: str | None = environ.get(_REQUEST_ID_SLOT)
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID")
        known = given if given and _REQUEST_ID.fullmatch(given) else str(new_id())
        environ[_REQUEST_ID_SLOT] = known
    return known


class Ready(Response):
    """A finished answer with all its headers; nothing is worked out while it is sent."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send the headers as they stand and the body as one piece."""
        start_response(self.status, self.headers.to_wsgi_list())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [self.data]


class Streamed(Response):
    """An answer that is made while it is sent, with all its headers."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send the headers as they stand and the body piece by piece."""
        start_response(self.status, self.headers.to_wsgi_list())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.response  # type: ignore[return-value]  # all that is streamed is bytes


def streamed(
    pieces: Iterator[bytes], *, mimetype: str, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Return an answer that is made as it is sent, with the headers of every answer."""
    return Streamed(pieces, headers=_all_headers(mimetype, *headers))


def ready(
    body: bytes,
    status: int = 200,
    *,
    mimetype: str = JSON,
    headers: Iterable[tuple[str, str]] = (),
) -> Response:
    """Return an answer with ``body`` as it is and the headers of every answer.

    ``headers`` come on top, or in the place of those of their names.
    """
    length = ("Content-Length", str(len(body)))
    return Ready([body], status, _all_headers(mimetype, length, *headers))


def _all_headers(mimetype: str, *headers: tuple[str, str]) -> list[tuple[str, str]]:
    own = {name for name, _ in headers}
    usual = (header for header in _HEADERS if header[0] not in own)
    every = [("Content-Type", mimetype), ("X-Request-Id", request_id()), *usual, *headers]
    if request.environ["wsgi.url_scheme"] == "https":
        every.append(_HSTS)
    return every


def from_answer(answer: Answer) -> Response:
    """Return what a service answered, byte for byte, and say whether it was kept from before."""
    replayed = (("Idempotent-Replayed", "true"),) if answer.replayed else ()
    return ready(answer.body.encode(), answer.status, headers=replayed)


def from_act(answer: Answer) -> Response:
    """Return the answer of an act that tells of it, and let the worker look whom it calls.

    A kept answer and a first consent, which waits for a second, did not tell.
    """
    if not answer.replayed and answer.status != HTTPStatus.ACCEPTED:
        nudge()
    return from_answer(answer)


def finish(response: Response) -> Response:
    """Give an answer that others made the headers it lacks."""
    if not isinstance(response, Ready | Streamed):
        for name, value in _HEADERS:
            response.headers.setdefault(name, value)
        if request.is_secure:
            response.headers.setdefault(*_HSTS)
        response.headers["X-Request-Id"] = request_id()
    return response


def init_app(app: Flask) -> None:
    """Let every answer of ``app`` pass ``finish``."""
    app.after_request(finish)
