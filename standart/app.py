"""The application factory: Flask with database, API, panel and Celery."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from standart import admin, api, tasks
from standart.config import Settings
from standart.extensions import init_database, make_celery


def create_app(settings: Settings | None = None) -> Flask:
    """Return the service for ``settings``, by default those of the environment.

    Raises:
        ConfigurationError: a setting is missing or makes no sense.
    """
    settings = settings or Settings.from_env()
    app = Flask("standart", static_folder=None)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        MAX_CONTENT_LENGTH=api.MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=api.MAX_BODY_BYTES,
        TRUSTED_HOSTS=list(settings.trusted_hosts),
        PROPAGATE_EXCEPTIONS=False,
    )
    if settings.proxy_hops:
        hops = settings.proxy_hops
        proxied = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = proxied  # type: ignore[method-assign]  # Flask's own documented way
    init_database(app, settings)
    make_celery(app)
    tasks.init_app(app)
    api.init_app(app)
    admin.init_app(app)
    return app
