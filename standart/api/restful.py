"""Flask-RESTful as this service uses it: routing by resource, nothing of its error handling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_restful


class Resource(flask_restful.Resource):  # type: ignore[misc]  # the library has no types
    """A noun of the API; its methods return finished responses."""


class Api(flask_restful.Api):  # type: ignore[misc]  # the library has no types
    """The resources of the API; what they raise is the app's business.

    Flask-RESTful would make errors its own: 500 for a domain error in production, and
    another body for 404 and 405 than everywhere else.
    """

    def error_router(self, original_handler: Callable[[Exception], Any], error: Exception) -> Any:
        """Hand every error to the app's handlers."""
        return original_handler(error)

    def add(self, resource: type[Resource], path: str, endpoint: str) -> None:
        """Route ``path`` to ``resource``; OPTIONS is not answered, since there is no CORS."""
        self.add_resource(resource, path, endpoint=endpoint, provide_automatic_options=False)
