"""The documentation page: Flasgger's views over our own document and a current Swagger UI.

Of Flasgger only the two views are used. Its ``init_app`` would change how rules are added
and run a function after every request, and its bundled Swagger UI is old.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from flask import Blueprint, Flask, Response, g, make_response
from flask.json.provider import DefaultJSONProvider

from standart.api import openapi

View = Callable[[], Any]

_FOLDER: Final = Path(__file__).parent

_CONFIG: Final = {
    "title": openapi.TITLE,
    "endpoint": "flasgger",
    "specs": [{"endpoint": "apispec", "title": openapi.TITLE, "version": openapi.VERSION}],
    "favicon": "",
    "swagger_ui_standalone_preset_js": "",
    "jquery_js": "",
}


def _policy(nonce: str) -> str:
    # Swagger UI draws its icons from data: URLs.
    return (
        "default-src 'none'; "
        f"script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


# Flasgger brings three parsers of its own. They cost each process a fifth of a second at
# its start and some megabytes, so only the one that is asked for the page loads them.
@cache
def _document_view() -> View:
    from flasgger.base import APISpecsView

    document = openapi.document()
    return cast("View", APISpecsView.as_view("apispec", loader=lambda: document))


@cache
def _page_view() -> View:
    from flasgger.base import APIDocsView

    return cast("View", APIDocsView.as_view("apidocs", view_args={"config": _CONFIG}))


def _document() -> Response:
    return make_response(_document_view()())


def _page() -> Response:
    """The page, where only our own files and the one script that starts it may run."""
    g.docs_nonce = secrets.token_urlsafe(16)
    response = make_response(_page_view()())
    response.headers["Content-Security-Policy"] = _policy(g.docs_nonce)
    return response


def init_app(app: Flask) -> None:
    """Serve the document at ``/apispec.json`` and the page at ``/apidocs/``."""
    blueprint = Blueprint(
        "flasgger",
        __name__,
        template_folder=str(_FOLDER / "templates"),
        static_folder=str(_FOLDER / "static" / "swagger-ui"),
        static_url_path="/apidocs/static",
    )
    for path, endpoint, view in (
        ("/apispec.json", "apispec", _document),
        ("/apidocs/", "apidocs", _page),
    ):
        blueprint.add_url_rule(path, endpoint, view, provide_automatic_options=False)
    app.register_blueprint(blueprint)
    # The document tells its story in an order of its own.
    cast("DefaultJSONProvider", app.json).sort_keys = False
