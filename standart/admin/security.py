"""What every page of the panel is sent with: headers, the nonce, and how its cookies are named."""

from __future__ import annotations

import secrets
from typing import Final

from flask import Flask, Request, Response, g, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

ROOT: Final = "/admin"
_OWN_PATHS: Final = frozenset(
    {"/", ROOT, "/login", "/login/code", "/logout", "/language", "/theme", "/refresh"}
)

# A browser keeps a cookie of this prefix only from https, for this host and all its paths,
# so no neighbouring host and no plain http answer can plant one.
_HOST_PREFIX: Final = "__Host-"

_HSTS_SECONDS: Final = 31_536_000


def owns(path: str) -> bool:
    """Whether the URL path belongs to the panel, known to it or not: errors there are HTML."""
    return path in _OWN_PATHS or path.startswith(f"{ROOT}/")


def cookie_name(name: str) -> str:
    """Return the name under which the cookie ``name`` is kept for the current request."""
    return _HOST_PREFIX + name if request.is_secure else name


def nonce() -> str:
    """Return the nonce of the current request; made when first asked for."""
    if "panel_nonce" not in g:
        g.panel_nonce = secrets.token_urlsafe(16)
    return str(g.panel_nonce)


class FormSession(SecureCookieSessionInterface):
    """The signed cookie behind forms: the CSRF secret and messages, never who is logged in."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the cookie on the panel's paths only: an API call has no use for it."""
        if not owns(request.path):
            return self.make_null_session(app)
        return super().open_session(app, request)

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name that fits the scheme of the current request."""
        return cookie_name("standart_form")

    def get_cookie_secure(self, app: Flask) -> bool:
        """Keep the cookie off plain http wherever it was set over https."""
        return request.is_secure

    def get_cookie_httponly(self, app: Flask) -> bool:
        """No script reads it: forms carry the token."""
        return True

    def get_cookie_samesite(self, app: Flask) -> str:
        """Links from elsewhere still find the login; posts from elsewhere do not."""
        return "Lax"


def protect(response: Response) -> Response:
    """Put the security headers on what the panel answers; other paths are left alone."""
    if not owns(request.path):
        return response
    headers = response.headers
    headers["Content-Security-Policy"] = _policy()
    headers["X-Content-Type-Options"] = "nosniff"
    # The CSRF check over https compares the Referer, so it must reach our own pages.
    headers["Referrer-Policy"] = "same-origin"
    headers["X-Frame-Options"] = "DENY"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if request.endpoint != "panel.static":
        headers["Cache-Control"] = "no-store"
    if request.is_secure:
        headers["Strict-Transport-Security"] = f"max-age={_HSTS_SECONDS}"
    return response


def _policy() -> str:
    """Return the Content-Security-Policy: own files by nonce, nothing inline, no frames."""
    return (
        "default-src 'none'; "
        f"script-src 'self' 'nonce-{nonce()}'; style-src 'self' 'nonce-{nonce()}'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
