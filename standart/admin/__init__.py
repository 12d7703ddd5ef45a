"""The operator's panel: Flask-Admin's menu and views under ``/admin/``, the login at ``/login``."""

from __future__ import annotations

from flask import Flask
from flask_admin import Admin
from flask_admin.theme import Bootstrap4Theme
from flask_babel import lazy_gettext

from standart.admin import (
    auth,
    changes,
    devices,
    errors,
    formats,
    icons,
    language,
    links,
    security,
    uploads,
)
from standart.admin.audit import Audit
from standart.admin.dashboard import Dashboard
from standart.admin.errors import render_error
from standart.admin.payout_new import Payouts
from standart.admin.profile import Profile
from standart.admin.reconciliations import Reconciliations
from standart.admin.refunds import Refunds
from standart.admin.search import Search
from standart.admin.security import owns
from standart.admin.settings_page import SettingsPage
from standart.admin.transactions import Transactions
from standart.admin.users import Users
from standart.admin.webhooks import Webhooks
from standart.extensions import babel, csrf, settings_of

__all__ = ["init_app", "owns", "render_error"]


def init_app(app: Flask) -> None:
    """Add the panel to ``app``: every POST of the app needs a CSRF token, the API's apart."""
    app.session_interface = security.FormSession()
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # a token lives as long as its login
    app.before_request(uploads.allow_files)  # before the check of the token reads the form
    csrf.init_app(app)
    babel.init_app(
        app,
        default_locale=settings_of(app).default_locale,
        locale_selector=language.choose_language,
    )
    auth.init_app(app)
    _add_views(app)
    app.after_request(security.protect)
    app.add_template_filter(language.moment, "moment")
    app.add_template_filter(language.duration, "duration")
    app.add_template_filter(language.clock_time, "clock")
    app.add_template_filter(formats.percent, "percent")
    app.add_template_filter(devices.device, "device")
    app.add_template_filter(formats.amount, "amount")
    app.add_template_filter(formats.count, "count_of")
    app.add_template_filter(formats.coded, "coded")
    app.add_template_global(icons.icon, "icon")
    app.add_template_global(changes.changes_of, "changes_of")
    app.add_template_global(links.object_url, "object_url")
    app.add_template_global(auth.panel.asset_url, "asset")
    app.extensions["standart.panel_errors"] = errors.html_error


def _add_views(app: Flask) -> None:
    panel = Admin(
        app,
        name="Standart",
        url=security.ROOT,
        theme=Bootstrap4Theme(base_template="panel/base.html"),
        index_view=Dashboard(lazy_gettext("Dashboard"), endpoint="admin", url=security.ROOT),
        csp_nonce_generator=security.nonce,
    )
    panel.add_view(Users(lazy_gettext("Users"), endpoint="users", url="users"))
    panel.add_view(
        Transactions(lazy_gettext("Transactions"), endpoint="transactions", url="transactions")
    )
    panel.add_view(Search(lazy_gettext("Search"), endpoint="search", url="search"))
    panel.add_view(Payouts(lazy_gettext("Payouts"), endpoint="payouts", url="payouts"))
    panel.add_view(Refunds(lazy_gettext("Refunds"), endpoint="refunds", url="refunds"))
    panel.add_view(
        Reconciliations(
            lazy_gettext("Proof and reports"), endpoint="reconciliation", url="reconciliation"
        )
    )
    panel.add_view(Webhooks(lazy_gettext("Webhooks"), endpoint="webhooks", url="webhooks"))
    panel.add_view(Profile(lazy_gettext("Profile"), endpoint="profile", url="profile"))
    panel.add_view(Audit(lazy_gettext("Audit log"), endpoint="audit", url="audit"))
    panel.add_view(SettingsPage(lazy_gettext("Settings"), endpoint="settings", url="settings"))
