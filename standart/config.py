"""All settings: read from the environment once, checked, frozen.

``Settings`` is the one description of each setting; parsing, ``standart settings`` and
``docs/configuration.md`` follow from it. A value is looked for in

1. ``NAME``, or the file that ``NAME_FILE`` points to (both at once are refused),
2. ``environment`` in the data folder, which a running ``standart up`` leaves there, but
   only where the environment itself names no database,
3. the default.

An empty value counts as absent. ``.env`` files are the command line's business.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from standart import setting_docs
from standart import setting_kinds as kinds
from standart.errors import ConfigurationError
from standart.setting_kinds import Kind, Network, RateLimit, Setting
from standart.setting_sources import DATA_DIR, DATABASE, DEFAULT_DATA_DIR, find


def _about(
    variable: str, kind: Kind[Any], help: str, *, secret: bool = False
) -> dict[str, Setting]:
    return {"setting": Setting(variable, kind, help, secret)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Durations are in seconds, sums in minor units."""

    database_url: str = field(
        repr=False,
        metadata=_about(
            DATABASE,
            kinds.DATABASE_URL,
            "PostgreSQL 15 or newer, with the role of the application. Not needed beside a "
            "running `standart up`.",
            secret=True,
        ),
    )
    migration_database_url: str = field(
        default="",
        repr=False,
        metadata=_about(
            "STANDART_MIGRATION_DATABASE_URL",
            kinds.DATABASE_URL,
            "The same database with the role that owns the tables; `standart migrate` uses it.",
            secret=True,
        ),
    )
    redis_url: str = field(
        default="redis://127.0.0.1:6379/0",
        repr=False,
        metadata=_about(
            "REDIS_URL",
            kinds.REDIS_URL,
            "Broker of the background tasks (Redis or Valkey); nothing is lost with it.",
            secret=True,
        ),
    )
    secret_key: str = field(
        repr=False,
        metadata=_about(
            "SECRET_KEY",
            kinds.SECRET,
            "Signs cookies and form tokens of the panel; the same for all processes.",
            secret=True,
        ),
    )
    encryption_keys: str = field(
        repr=False,
        metadata=_about(
            "STANDART_ENCRYPTION_KEYS",
            kinds.KEYS,
            "Key ring that seals what is secret in the database. Put a new key in front, restart "
            "all processes, run `standart rotate-encryption-key`, then take the old ones away.",
            secret=True,
        ),
    )
    transaction_ttl_seconds: int = field(
        default=900,
        metadata=_about(
            "STANDART_TRANSACTION_TTL_SECONDS",
            kinds.whole(1, 31_536_000),
            "Seconds until a new transaction expires.",
        ),
    )
    expiry_sweep_seconds: int = field(
        default=5,
        metadata=_about(
            "STANDART_EXPIRY_SWEEP_SECONDS",
            kinds.whole(1, 3600),
            "Seconds between two sweeps that record overdue transactions as expired.",
        ),
    )
    default_currency: str = field(
        default="RUB",
        metadata=_about("STANDART_DEFAULT_CURRENCY", kinds.CURRENCY, "Currency of a new merchant."),
    )
    default_locale: str = field(
        default="ru",
        metadata=_about(
            "STANDART_DEFAULT_LOCALE",
            kinds.choice("ru", "en"),
            "Language of the panel where the browser names neither.",
        ),
    )
    timezone: ZoneInfo = field(
        default=ZoneInfo("UTC"),
        metadata=_about(
            "STANDART_TIMEZONE",
            kinds.TIMEZONE,
            "Time zone of the books: where the days and months begin that are closed, and those "
            "of a new merchant.",
        ),
    )
    seal_seconds: int = field(
        default=60,
        metadata=_about(
            "STANDART_SEAL_SECONDS",
            kinds.whole(1, 3600),
            "Seconds between two sweeps that seal what has been posted.",
        ),
    )
    seal_anchor: str | None = field(
        default=None,
        metadata=_about(
            "STANDART_SEAL_ANCHOR",
            kinds.ANCHOR,
            "Where the worker leaves the chain's head outside the database: a file that gets a "
            "line for each seal, or a URL that gets a POST with the newest one.",
        ),
    )
    webhook_allowed_networks: tuple[Network, ...] = field(
        default=(),
        metadata=_about(
            "STANDART_WEBHOOK_ALLOWED_NETWORKS",
            kinds.NETWORKS,
            "Networks that webhooks may reach although they are not public, on any port. For "
            "development and tests.",
        ),
    )
    webhook_allow_http: bool = field(
        default=False,
        metadata=_about(
            "STANDART_WEBHOOK_ALLOW_HTTP",
            kinds.YES_NO,
            "Whether webhook URLs may be http, on ports 80 and 8080 as well.",
        ),
    )
    webhook_retry_schedule: tuple[int, ...] = field(
        default=(5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        metadata=_about(
            "STANDART_WEBHOOK_RETRY_SCHEDULE",
            kinds.SCHEDULE,
            "Seconds from each failed try to the next, ±20 %; after the last one a delivery "
            "is dead until it is replayed.",
        ),
    )
    webhook_retention_days: int = field(
        default=30,
        metadata=_about(
            "STANDART_WEBHOOK_RETENTION_DAYS",
            kinds.whole(0, 36_500),
            "Days after which events that all their receivers got are purged, with what was sent "
            "and answered; 0 keeps them for ever. One that is not delivered stays.",
        ),
    )
    trusted_hosts: tuple[str, ...] = field(
        default=("localhost", "127.0.0.1", "::1"),
        metadata=_about(
            "STANDART_TRUSTED_HOSTS",
            kinds.HOSTS,
            "Values of the Host header that are answered; `standart up` and `standart serve` "
            "add their `--host`.",
        ),
    )
    metrics_port: int | None = field(
        default=None,
        metadata=_about(
            "STANDART_METRICS_PORT",
            kinds.PORT,
            "Loopback port of the Prometheus metrics of `standart serve`; under `standart up` "
            "those of the worker as well.",
        ),
    )
    worker_metrics_port: int | None = field(
        default=None,
        metadata=_about(
            "STANDART_WORKER_METRICS_PORT",
            kinds.PORT,
            "Loopback port of the Prometheus metrics of `standart worker`.",
        ),
    )
    rate_limit: RateLimit | None = field(
        default=None,
        metadata=_about(
            "STANDART_RATE_LIMIT",
            kinds.RATE_LIMIT,
            "Requests that one API key may make, 0 for no limit. Logins are always throttled.",
        ),
    )
    four_eyes_above: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({}),
        metadata=_about(
            "STANDART_FOUR_EYES_ABOVE",
            kinds.SUMS,
            "Sums above which a confirm, payout, late payment or adjustment needs a second "
            "admin; in a currency that is not named one admin suffices for any sum.",
        ),
    )
    proxy_hops: int = field(
        default=0,
        metadata=_about(
            "STANDART_PROXY_HOPS",
            kinds.whole(0, 10),
            "Reverse proxies in front whose X-Forwarded-* headers are believed.",
        ),
    )
    data_dir: Path = field(
        default=DEFAULT_DATA_DIR,
        metadata=_about(
            DATA_DIR,
            kinds.FOLDER,
            "Folder of `standart up`: embedded engines, generated secrets, sockets.",
        ),
    )
    database_pool_size: int = field(
        default=8,
        metadata=_about(
            "STANDART_DATABASE_POOL_SIZE",
            kinds.whole(1, 100),
            "Database connections that one process keeps open.",
        ),
    )
    session_idle_seconds: int = field(
        default=900,
        metadata=_about(
            "STANDART_SESSION_IDLE_SECONDS",
            kinds.whole(60, 86_400),
            "Seconds without a request after which a login of the panel ends.",
        ),
    )
    session_lifetime_seconds: int = field(
        default=43_200,
        metadata=_about(
            "STANDART_SESSION_LIFETIME_SECONDS",
            kinds.whole(60, 604_800),
            "Seconds after which a login of the panel ends in any case.",
        ),
    )
    require_totp: str = field(
        default="none",
        metadata=_about(
            "STANDART_REQUIRE_TOTP",
            kinds.choice("none", "staff", "all"),
            "Whose login needs codes of an app beside the password: nobody's, that of everybody "
            "but merchants, or everybody's. Who has none yet is asked to set it up first. API "
            "keys are not concerned.",
        ),
    )
    api_docs: bool = field(
        default=True,
        metadata=_about(
            "STANDART_API_DOCS",
            kinds.YES_NO,
            "Whether `/apidocs/` and `/apispec.json` are served.",
        ),
    )
    log_format: str = field(
        default="auto",
        metadata=_about(
            "STANDART_LOG_FORMAT",
            kinds.choice("auto", "text", "json"),
            "Form of log lines; auto means text on a terminal and JSON elsewhere.",
        ),
    )
    log_level: str = field(
        default="INFO",
        metadata=_about(
            "STANDART_LOG_LEVEL",
            kinds.choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
            "The least severe log lines that are written.",
        ),
    )

    def __post_init__(self) -> None:
        if not self.migration_database_url:
            object.__setattr__(self, "migration_database_url", self.database_url)

    @property
    def broker_url(self) -> str:
        """``redis_url`` in the form that Celery's transport reads."""
        return kinds.broker_url(self.redis_url)

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, require_secrets: bool = True
    ) -> Settings:
        """Read and check all settings, from ``os.environ`` unless ``environ`` is given.

        Without ``require_secrets`` the absent ones of ``SECRET_KEY`` and
        ``STANDART_ENCRYPTION_KEYS`` are empty: some commands need a database only.

        Raises:
            ConfigurationError: a setting is missing or makes no sense.
        """
        found = find(os.environ if environ is None else environ, VARIABLES)
        values: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            if setting.variable in found:
                values[name] = setting.kind.read(setting.variable, found[setting.variable].text)
            elif name in _SECRETS and not require_secrets:
                values[name] = ""
            elif name in REQUIRED:
                raise ConfigurationError(
                    setting.variable,
                    "is not set",
                    f"Set it to {setting.kind.form}; `standart up` needs no settings",
                )
        return cls(**values)


SETTINGS: Mapping[str, Setting] = {item.name: item.metadata["setting"] for item in fields(Settings)}
"""Name of the field of ``Settings`` → its description, in the order of the table."""

_SECRETS = frozenset({"secret_key", "encryption_keys"})
REQUIRED = _SECRETS | {"database_url"}

VARIABLES = tuple(setting.variable for setting in SETTINGS.values())


def default_text(name: str) -> str:
    """Return the default of the field ``name`` as one would write it, ``""`` without one."""
    default = next(item.default for item in fields(Settings) if item.name == name)
    if default is MISSING or default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default)


if __name__ == "__main__":
    sys.exit(
        setting_docs.main(
            sys.argv[1:], {name: (item, default_text(name)) for name, item in SETTINGS.items()}
        )
    )
