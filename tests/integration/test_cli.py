"""The commands: what they print, what they change, how they refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from standart.__main__ import create_app
from standart.cli import COMMANDS, AppCommands, command_line, init_app
from standart.config import Settings
from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.models import ApiKey, AuditRecord, Role, Scope, User
from standart.services import (
    endpoint_service,
    key_service,
    login_service,
    session_service,
    user_service,
)
from standart.services.access import Origin
from tests.builders import PASSWORD, TestUser, make_transaction, make_user, overdue
from tests.integration.commands import Run, refused
from tests.integration.factors import enrol


def test_help_names_every_command_without_any_setting() -> None:
    done = CliRunner().invoke(command_line(create_app), ["--help"], env={"DATABASE_URL": None})
    assert done.exit_code == 0
    contract = (
        "up serve worker beat migrate create-admin create-user create-api-key revoke-api-key "
        "list-users expire deliver verify doctor settings"
    )
    for name in contract.split():
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE), name


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_has_a_help_text(name: str) -> None:
    done = CliRunner().invoke(command_line(create_app), [name, "--help"])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 4


def test_an_unknown_command_is_a_usage_error() -> None:
    done = CliRunner().invoke(command_line(create_app), ["nonsense"])
    assert done.exit_code == 2
    assert "No such command 'nonsense'" in done.stderr


def test_flask_finds_the_same_commands() -> None:
    app = Flask("x")
    init_app(app)
    assert isinstance(app.cli, AppCommands)
    assert app.cli.get_command(None, "create-admin") is not None  # type: ignore[arg-type]  # unused
    assert "shell" not in app.cli.list_commands(None)  # type: ignore[arg-type]  # unused


def test_an_admin_is_created_with_a_password_that_opens(
    run: Run, engine: Engine, keyring: Keyring
) -> None:
    done = run("create-admin", "root", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (done.exit_code, done.stdout) == (0, "created admin root\n")
    with Session(engine) as session:
        user = login_service.log_in(session, name="root", password=PASSWORD, ip="127.0.0.1")
        assert user.role is Role.ADMIN
        record = session.query(AuditRecord).one()
        assert (record.action, record.channel) == ("user.created", "cli")


def test_a_name_is_used_once(run: Run, merchant: TestUser) -> None:
    done = run("create-admin", merchant.name.upper(), "--password-stdin", typed=PASSWORD)
    refused(done, 1, "name")


def test_a_short_password_is_refused(run: Run) -> None:
    refused(run("create-admin", "root", "--password-stdin", typed="short\n"), 2, "password")


def test_without_a_terminal_the_password_must_come_from_the_input(run: Run) -> None:
    refused(run("create-admin", "root", typed=""), 2, "--password-stdin")


def test_a_merchant_is_created_as_json(run: Run, engine: Engine, keyring: Keyring) -> None:
    done = run(
        *("create-user", "Кафе", "--commission-rate", "0.03", "--currency", "EUR", "--json"),
        *("--webhook-url", "http://127.0.0.1:9999/hook"),
    )
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    with Session(engine) as session:
        user = user_service.find_user(session, "Кафе")
        assert user is not None
        assert shown == {
            "id": str(user.id),
            "name": "Кафе",
            "role": "regular",
            "active": True,
            "commission_rate": "0.03",
            "currency": "EUR",
            "webhook_url": "http://127.0.0.1:9999/hook",
            "timezone": "UTC",
            "unique_reference": False,
            "webhook_secret": endpoint_service.secret_of(keyring, user.endpoint),
        }


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--commission-rate", "1.5"], "commission_rate"),
        (["--commission-rate", "NaN"], "commission_rate"),
        (["--currency", "XXX"], "currency"),
        (["--webhook-url", "ftp://example.com/"], "webhook_url"),
        (["--webhook-url", "https://10.0.0.1/"], "webhook_url"),
    ],
)
def test_a_merchant_with_nonsense_is_refused(
    run: Run, engine: Engine, options: list[str], word: str
) -> None:
    refused(run("create-user", "shop", *options), 2, word)
    with Session(engine) as session:
        assert user_service.list_users(session) == []


def test_a_key_is_printed_alone_and_opens(run: Run, engine: Engine, merchant: TestUser) -> None:
    done = run("create-api-key", merchant.name, "--expires-in", "90d")
    assert (done.exit_code, done.stderr) == (0, "")
    digest = key_service.digest_of(done.stdout.removesuffix("\n"))
    with autocommit(engine) as connection:
        actor = key_service.authenticate(connection, digest, Origin("test"))
        assert actor.scopes == {Scope.READ, Scope.WRITE}
        lifetime = text("SELECT expires_at - created_at FROM api_keys WHERE digest = :digest")
        assert connection.scalar(lifetime, {"digest": digest.value}).days in (89, 90)


def test_a_key_that_confirms_is_for_admins(run: Run, merchant: TestUser, admin: TestUser) -> None:
    scopes = ["--scope", "read", "--scope", "confirm"]
    refused(
        run("create-api-key", merchant.name, *scopes),
        2,
        "Error: The scope confirm is for keys of admins and operators only.",
    )
    assert run("create-api-key", admin.name, *scopes).stdout.startswith("sk_live_")


def test_a_lost_second_factor_is_taken_away_and_every_login_ends(
    run: Run, engine: Engine, keyring: Keyring
) -> None:
    owner = make_user(engine, keyring, name="owner", role=Role.VIEWER, password=PASSWORD)
    beside = make_user(engine, keyring, name="beside", role=Role.ADMIN, password=PASSWORD)
    for user in (owner, beside):
        enrol(engine, keyring, user.id)
        with Session(engine) as session, transaction(session):
            opened = session.get_one(User, user.id)
            session_service.open_session(session, opened, ip=None, user_agent=None)
            login_service.ask_for_code(session, opened)

    done = run("reset-second-factor", "owner")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "owner has no second factor any more\n"
    with engine.connect() as connection:
        for table in ("second_factors", "recovery_codes", "panel_sessions", "pending_logins"):
            left = set(connection.scalars(text(f"SELECT user_id FROM {table}")))
            assert left == {beside.id}, table
        told = connection.execute(
            text(
                "SELECT actor_name, channel, object_id FROM audit_log"
                " WHERE action = 'second_factor.removed'"
            )
        ).all()
    assert told == [("command line", "cli", str(owner.id))]

    again = run("reset-second-factor", "owner")

    assert (again.exit_code, again.stdout) == (0, "owner had no second factor\n")
    with engine.connect() as connection:
        count = text("SELECT count(*) FROM audit_log WHERE action = 'second_factor.removed'")
        assert connection.scalar(count) == 1


def test_nobodys_second_factor_is_not_taken_away(run: Run) -> None:
    refused(run("reset-second-factor", "nobody"), 1, "nobody")


@pytest.mark.parametrize("duration", ["0d", "-1d", "90", "d", "1.5d", "９d", "999999999w"])
def test_a_nonsensical_lifetime_is_refused(run: Run, merchant: TestUser, duration: str) -> None:
    refused(run("create-api-key", merchant.name, "--expires-in", duration), 2, "--expires-in")


def test_a_lifetime_past_the_last_year_is_refused(run: Run, merchant: TestUser) -> None:
    refused(run("create-api-key", merchant.name, "--expires-in", "9999999d"), 2, "too long")


@pytest.mark.parametrize("command", ["create-api-key", "revoke-api-key"])
def test_an_argument_that_is_no_text_is_refused(run: Run, command: str) -> None:
    refused(run(command, "caf\udce9"), 2, "not valid text")


def test_a_key_for_nobody_is_refused(run: Run) -> None:
    refused(run("create-api-key", "nobody"), 1, "nobody")


def test_a_revoked_key_opens_nothing(run: Run, engine: Engine, merchant: TestUser) -> None:
    with Session(engine) as session:
        prefix = session.query(ApiKey).one().prefix
    done = run("revoke-api-key", prefix)
    assert done.exit_code == 0
    assert prefix in done.stdout
    with Session(engine) as session:
        assert session.query(ApiKey).one().revoked_at is not None
    refused(run("revoke-api-key", "sk_live_00000000"), 1, "prefix")


def test_users_are_listed_in_columns(run: Run, merchant: TestUser, admin: TestUser) -> None:
    lines = run("list-users").stdout.splitlines()
    assert lines[0].split() == ["NAME", "ROLE", "CURRENCY", "RATE", "ACTIVE", "ID"]
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert cells == {
        admin.name: ["admin", "RUB", "0.03", "yes", str(admin.id)],
        merchant.name: ["regular", "RUB", "0.03", "yes", str(merchant.id)],
    }


def test_users_of_an_empty_database_are_a_header(run: Run) -> None:
    assert run("list-users").stdout.split()[0] == "NAME"


def test_expire_ends_what_is_overdue(
    run: Run, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    made = [make_transaction(engine, merchant) for _ in range(2)]
    overdue(superuser, made[0]["id"])
    assert run("expire").stdout == "expired 1\n"
    assert run("expire").stdout == "expired 0\n"


def test_verify_proves_the_books(
    run: Run, engine: Engine, superuser: Engine, merchant: TestUser
) -> None:
    made = make_transaction(engine, merchant)
    right = run("verify")
    assert right.exit_code == 0
    assert right.stdout.splitlines()[-1] == "the books are right"
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("UPDATE transactions SET status = 'confirmed', finished_at = clock_timestamp()")
        )
    wrong = run("verify")
    assert wrong.exit_code == 1
    assert "confirmed_has_one_settlement" in wrong.stdout
    assert made["id"] in wrong.stdout
    assert "broken" in wrong.stderr


def test_migrate_is_repeatable(run: Run) -> None:
    assert run("migrate").stdout == run("migrate").stdout == "the schema is up to date\n"


def test_settings_are_shown_without_secrets(run: Run, settings: Settings) -> None:
    done = run("settings", STANDART_NONSENSE="1")
    assert "STANDART_TRANSACTION_TTL_SECONDS=900" in done.stdout
    assert "STANDART_NONSENSE" in done.stderr
    for secret in (settings.secret_key, settings.encryption_keys):
        assert secret not in done.output


def test_doctor_finds_what_is_missing(run: Run, engine: Engine) -> None:
    done = run("doctor")
    assert done.exit_code == 1
    marks = {line.split(":")[0].split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert marks.pop("worker") == "FAIL"
    expected = {"settings", "broker", "database", "migrations", "role", "clock", "webhooks"}
    expected |= {"events", "endpoints", "replays", "retention", "keys", "seals"}
    assert marks == dict.fromkeys(expected, "ok")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO heartbeats VALUES ('sweep', clock_timestamp())"))
    assert run("doctor").exit_code == 0


def test_doctor_tells_of_a_restore_until_migrate_has_run(run: Run, superuser: Engine) -> None:
    with superuser.begin() as connection:
        connection.execute(text("UPDATE event_clock SET server = 1"))
    told = re.search(r"^(.*)  events: .*restore.*migrate", run("doctor").stdout, re.MULTILINE)
    assert told is not None
    assert told[1] == "FAIL"
    assert run("migrate").exit_code == 0
    assert re.search(r"^ok    events: ", run("doctor").stdout, re.MULTILINE)


def test_doctor_tells_of_a_clock_that_was_set_back(run: Run, superuser: Engine) -> None:
    with superuser.begin() as ahead:
        ahead.execute(text("SET LOCAL session_replication_role = replica"))
        ahead.execute(
            text("UPDATE book_clock SET dated_from = clock_timestamp() + interval '1 hour'")
        )
    assert re.search(
        r"^(?!ok ).*  seals: what is posted is dated 3\d{3} s ahead: .*NTP",
        run("doctor").stdout,
        re.MULTILINE,
    )


def test_doctor_names_a_remedy_for_each_failure(run: Run, environment: dict[str, str]) -> None:
    owner = environment["STANDART_MIGRATION_DATABASE_URL"]
    done = run("doctor", REDIS_URL="redis://127.0.0.1:1/0", DATABASE_URL=owner)
    assert re.search(r"^FAIL  broker: .*REDIS_URL", done.stdout, re.MULTILINE)
    assert re.search(r"^warn  role: .*another role", done.stdout, re.MULTILINE)
    done = run("doctor", STANDART_ENCRYPTION_KEYS="nonsense")
    assert done.exit_code == 1
    assert "STANDART_ENCRYPTION_KEYS" in done.stdout
    done = run("doctor", DATABASE_URL="postgresql://x:geheim@127.0.0.1:1/x")
    assert re.search(r"^FAIL  database: ", done.stdout, re.MULTILINE)
    assert "geheim" not in done.output


@pytest.mark.parametrize("command", ["list-users", "migrate", "verify", "expire"])
def test_a_database_that_is_away_is_one_line(run: Run, command: str) -> None:
    away = "postgresql://x:geheim@127.0.0.1:1/x"
    done = run(command, DATABASE_URL=away, STANDART_MIGRATION_DATABASE_URL=away)
    refused(done, 2 if command == "migrate" else 1, "DATABASE_URL")
    assert "geheim" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "beat", "deliver", "create-admin"])
def test_without_a_secret_nothing_starts(environment: dict[str, str], command: str) -> None:
    arguments = ["x", "--password-stdin"] if command == "create-admin" else []
    given = {"PATH": os.environ["PATH"], **environment}
    del given["SECRET_KEY"]
    done = subprocess.run(
        [sys.executable, "-m", "standart", command, *arguments],
        env=given,
        input=PASSWORD,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "SECRET_KEY" in done.stderr


def test_settings_of_a_running_tree_are_found_in_its_data_dir(
    environment: dict[str, str], engine: Engine, merchant: TestUser, tmp_path: Path
) -> None:
    lines = "".join(f"{name}={value}\n" for name, value in environment.items())
    (tmp_path / "environment").write_text(lines)
    done = subprocess.run(
        [sys.executable, "-m", "standart", "list-users"],
        env={"PATH": os.environ["PATH"], "STANDART_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert merchant.name in done.stdout


def test_an_unknown_event_is_not_replayed(run: Run) -> None:
    unknown = "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a"
    refused(run("replay", unknown), 1, "Error: There is no such object.")
