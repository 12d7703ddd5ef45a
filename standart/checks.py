"""Is everything in place, and what to do where it is not: for `standart doctor` and the panel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from standart import migrations
from standart.clock import now
from standart.config import Settings
from standart.db import autocommit, make_engine
from standart.embedded.preparation import unreachable
from standart.encryption import Keyring
from standart.errors import ConfigurationError
from standart.models import DisabledReason
from standart.phrases import Phrase
from standart.services import (
    backlog_service,
    chain,
    heartbeat_service,
    retention_service,
    seal_service,
    sealing_service,
    webhook_service,
)
from standart.setting_kinds import shown_url
from standart.setting_table import unknown_variables

# Seconds; a clock that is further off shows wrong times, though the database's clock decides.
CLOCK_TOLERANCE = 2.0

# A sweep may be late by some periods before somebody should look, seconds.
SWEEP_GRACE = 30.0
RETENTION_GRACE = 86_400.0
SEAL_GRACE = 60.0
ANCHOR_GRACE = 300.0
BROKER_SECONDS = 2

_MIGRATE = Phrase("Run `standart migrate`")


@dataclass(frozen=True, slots=True)
class Result:
    """One check; without a remedy it is in order. What the panel may show are phrases."""

    name: str
    detail: str
    remedy: str = ""
    harmless: bool = False

    @property
    def mark(self) -> str:
        """How the line begins."""
        if not self.remedy:
            return "ok  "
        return "warn" if self.harmless else "FAIL"


def examine() -> Iterator[Result]:
    """Yield a result for each check, from the settings of the environment on."""
    try:
        settings = Settings.from_env()
        Keyring.parse(settings.encryption_keys)
    except ConfigurationError as error:
        yield Result("settings", f"{error.variable} {error.problem}", error.remedy)
        return
    yield Result("settings", "all make sense")
    for name in unknown_variables():
        yield Result("settings", f"{name} is unknown", "Correct or remove it", harmless=True)
    yield of_broker(settings)
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        yield from _database(engine, settings)
    finally:
        engine.dispose()


def of_broker(settings: Settings) -> Result:
    """Tell whether the broker answers, within two seconds."""
    from kombu import Connection as Broker

    options = {"socket_connect_timeout": BROKER_SECONDS, "socket_timeout": BROKER_SECONDS}
    try:
        with Broker(settings.broker_url, transport_options=options) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
    except Exception as error:  # the client raises whatever its transport does
        return Result(
            "broker",
            Phrase("does not answer (%(error)s)", error=type(error).__name__),
            Phrase("Start it or correct REDIS_URL; until then background work waits"),
        )
    return Result("broker", Phrase("answers"))


def _database(engine: Engine, settings: Settings) -> Iterator[Result]:
    try:
        with autocommit(engine) as connection:
            yield from of_database(connection, settings)
    except ConfigurationError as error:
        yield Result("database", error.problem, error.remedy)
    except DBAPIError as error:
        refusal = unreachable(error)
        yield Result("database", refusal.problem, refusal.remedy)


def of_database(connection: Connection, settings: Settings) -> Iterator[Result]:
    """Check what the database can tell; ``connection`` is in autocommit mode.

    Raises:
        ConfigurationError: the server is too old.
    """
    migrations.check_server(connection)
    seen = server(connection)
    yield Result("database", Phrase("PostgreSQL %(version)s answers", version=seen.version))
    schema = _schema(seen)
    yield schema
    yield _role(seen)
    yield _clock(seen)
    if not schema.remedy:
        yield _event_clock(connection)
        yield _sweep(connection, settings)
        yield _seals(connection, settings)
        yield _webhooks(connection)
        yield _endpoints(connection)
        yield _replays(connection)
        yield _retention(connection, settings)
        yield _keys(connection, settings)


@dataclass(frozen=True, slots=True)
class Server:
    """What the database is; ``apart`` is how far its clock is from ours, in seconds.

    ``revision`` is ``None`` before the first migration; ``owns_tables``: the role in use does.
    """

    version: str
    revision: str | None
    owns_tables: bool
    apart: float


_SERVER = text(
    """
    SELECT current_setting('server_version') AS version, clock_timestamp() AS at,
        to_regclass('alembic_version') IS NOT NULL AS migrated,
        EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public'
            AND pg_has_role(current_user, tableowner, 'MEMBER')) AS owns_tables
    """
)


def server(connection: Connection) -> Server:
    """Return what the database is."""
    row = connection.execute(_SERVER).one()
    at: datetime = row.at
    apart = abs((now() - at).total_seconds())
    revision = migrations.revision(connection) if row.migrated else None
    return Server(row.version, revision, row.owns_tables, apart)


def _schema(seen: Server) -> Result:
    current, head = seen.revision, migrations.head()
    if current == head:
        return Result("migrations", Phrase("at %(revision)s", revision=head))
    detail = Phrase(
        "at %(revision)s, this version needs %(needed)s",
        revision=current or Phrase("nothing"),
        needed=head,
    )
    return Result("migrations", detail, _MIGRATE)


def _role(seen: Server) -> Result:
    if seen.owns_tables:
        return Result(
            "role",
            Phrase("the application's role owns its tables, so triggers alone protect the history"),
            Phrase(
                "Give STANDART_MIGRATION_DATABASE_URL another role and run `standart migrate` "
                "with it"
            ),
            harmless=True,
        )
    return Result("role", Phrase("the application's role owns no tables"))


def _clock(seen: Server) -> Result:
    if seen.apart <= CLOCK_TOLERANCE:
        return Result("clock", Phrase("agrees with the database's"))
    detail = Phrase("%(seconds).1f s off the database's", seconds=seen.apart)
    return Result("clock", detail, Phrase("Synchronise both by NTP"))


def _event_clock(connection: Connection) -> Result:
    if migrations.events_in_order(connection):
        return Result("events", Phrase("new ones lie above all that were followed"))
    return Result(
        "events",
        Phrase("the clock of events is another server's, as after a restore"),
        _MIGRATE,
    )


def _sweep(connection: Connection, settings: Settings) -> Result:
    age = heartbeat_service.ages(connection).get("sweep")
    remedy = Phrase("Start `standart worker` and `standart beat`, and see what they log")
    if age is None:
        return Result("worker", Phrase("has never swept"), remedy)
    late = age > settings.expiry_sweep_seconds + SWEEP_GRACE
    detail = Phrase("swept %(seconds).0f s ago", seconds=age)
    return Result("worker", detail, remedy if late else "")


def _seals(connection: Connection, settings: Settings) -> Result:
    lags = seal_service.lags(connection)
    if lags.sealing > settings.seal_seconds + SEAL_GRACE:
        remedy = Phrase("See what `standart worker` logs, or run `standart seal`")
        detail = Phrase(
            "the oldest journal without one is %(seconds).0f s old", seconds=lags.sealing
        )
        return Result("seals", detail, remedy)
    if lags.ahead > CLOCK_TOLERANCE:
        detail = Phrase(
            "what is posted is dated %(seconds).0f s ahead: the database's clock was set back",
            seconds=lags.ahead,
        )
        remedy = Phrase("Set the database's clock by NTP; until then statements lack what is new")
        return Result("seals", detail, remedy)
    head = chain.last(connection)
    if head is None:
        return Result("seals", Phrase("nothing is sealed yet"))
    place = settings.seal_anchor
    if place and lags.anchoring > ANCHOR_GRACE:
        remedy = Phrase("See what `standart worker` logs, and correct STANDART_SEAL_ANCHOR")
        detail = Phrase("the head is not left at %(place)s", place=shown_url(place))
        return Result("seals", detail, remedy)
    detail = Phrase("%(total)s journals, head %(head)s", total=head.total, head=head.number)
    return Result("seals", detail)


def _webhooks(connection: Connection) -> Result:
    lag = webhook_service.oldest_due_seconds(connection)
    detail = Phrase("the oldest that waits for us is due for %(seconds).0f s", seconds=lag)
    if lag > webhook_service.LATE_SECONDS:
        return Result("webhooks", detail, Phrase("Start `standart worker`, or more of them"))
    return Result("webhooks", detail)


def _endpoints(connection: Connection) -> Result:
    disabled = backlog_service.disabled_endpoints(connection)
    parts = tuple(
        Phrase("%(count)s for %(reason)s", count=count, reason=reason)
        for reason, count in sorted(disabled.items())
    )
    detail = Phrase("disabled: %(which)s", which=parts or Phrase("none"))
    stopped = {reason for reason in disabled if reason != DisabledReason.OWNER}
    if not stopped:
        return Result("endpoints", detail)
    remedy = Phrase("Their owners can mend and enable them, then replay what is dead")
    return Result("endpoints", detail, remedy, harmless=True)


def _replays(connection: Connection) -> Result:
    running = backlog_service.running_replays(connection)
    return Result("replays", Phrase("running: %(count)s", count=running or Phrase("none")))


def _retention(connection: Connection, settings: Settings) -> Result:
    days = settings.webhook_retention_days
    if days == 0:
        return Result("retention", Phrase("events are kept for ever"))
    lag = retention_service.lag_seconds(connection, days=days)
    if lag > RETENTION_GRACE:
        return Result(
            "retention",
            Phrase("the purge is %(days).1f days behind", days=lag / 86_400),
            Phrase("See what `standart worker` logs, or run `standart purge`"),
        )
    return Result("retention", Phrase("events go after %(days)s days", days=days))


def _keys(connection: Connection, settings: Settings) -> Result:
    ring = Keyring.parse(settings.encryption_keys).kids
    boxes = sealing_service.boxes_by_key(connection)
    missing = {kid: count for kid, count in boxes.items() if kid not in ring}
    if missing:
        return Result(
            "keys",
            Phrase("%(boxes)s do not open", boxes=_by_key(missing)),
            Phrase("Add the missing keys to STANDART_ENCRYPTION_KEYS again, behind the first"),
        )
    old = {kid: count for kid, count in boxes.items() if kid != ring[0]}
    if old:
        return Result(
            "keys",
            Phrase("%(boxes)s are sealed with an old key", boxes=_by_key(old)),
            Phrase("Run `standart rotate-encryption-key`"),
            harmless=True,
        )
    return Result("keys", Phrase("everything is sealed with %(kid)s", kid=ring[0]))


def _by_key(boxes: Mapping[str, int]) -> tuple[Phrase, ...]:
    return tuple(
        Phrase("%(count)s boxes of %(kid)s", count=count, kid=kid or Phrase("no key"))
        for kid, count in sorted(boxes.items())
    )
