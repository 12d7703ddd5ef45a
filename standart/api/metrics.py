"""Counts and times of HTTP requests, by route and never by raw path."""

from __future__ import annotations

from typing import Final

from flask import Flask, Response, request

from standart.clock import monotonic
from standart.observability import HTTP_REQUESTS, HTTP_SECONDS

_STARTED: Final = "standart.started"


def _start() -> None:
    request.environ[_STARTED] = monotonic()


def _count(response: Response) -> Response:
    route = str(request.url_rule or "unknown")
    method = request.method if request.url_rule else "any"
    HTTP_REQUESTS.labels(method, route, str(response.status_code)).inc()
    started = request.environ.get(_STARTED)
    if started is not None:
        HTTP_SECONDS.labels(route).observe(monotonic() - started)
    return response


def init_app(app: Flask) -> None:
    """Measure every request of ``app``; only called where metrics are served."""
    app.before_request(_start)
    app.after_request(_count)
