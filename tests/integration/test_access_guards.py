"""The rules of logins, second factors and roles, attacked with plain SQL by every role."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import constraint_name
from tests.integration.attacks import attack
from tests.integration.test_book_guards import approval
from tests.world import contents

TABLES = (
    "panel_sessions",
    "pending_logins",
    "second_factors",
    "recovery_codes",
    "login_failures",
    "panel_preferences",
)

DIGEST = "decode(repeat('{}', 32), 'hex')"
SESSION = "INSERT INTO panel_sessions (digest, id, user_id) VALUES ({digest}, {id}, {user})"
PENDING = "INSERT INTO pending_logins (digest, user_id) VALUES ({digest}, {user})"
FACTOR = "INSERT INTO second_factors (user_id, secret, last_step) VALUES ({user}, 'x', {step})"
CODE = "INSERT INTO recovery_codes (user_id, digest) VALUES ({user}, {digest})"
FAILURE = "INSERT INTO login_failures (name, ip, step) VALUES ('x', '192.0.2.1', '{}')"
LOOK = (
    "INSERT INTO panel_preferences (user_id, locale, timezone, theme, refresh_seconds)"
    " VALUES ({user}, {locale}, {timezone}, {theme}, {refresh})"
)


def session(digest: str = "01", **changes: str) -> str:
    usual = {"digest": DIGEST.format(digest), "id": ":new", "user": ":shop"}
    return SESSION.format(**(usual | changes))


def pending(user: str = ":shop") -> str:
    return PENDING.format(digest=DIGEST.format("01"), user=user)


def factor(user: str = ":shop", step: int = 0) -> str:
    return FACTOR.format(user=user, step=step)


def code(user: str = ":shop", digest: str = DIGEST.format("01")) -> str:
    return CODE.format(user=user, digest=digest)


def look(**changes: str) -> str:
    usual = dict.fromkeys(("locale", "timezone", "theme", "refresh"), "NULL")
    return LOOK.format(**(usual | {"user": ":shop"} | changes))


REFUSED = {
    "one token for two logins": (
        [session(), session(id=":new_event")],
        "pk_panel_sessions",
    ),
    "one name for two logins": ([session(), session("02")], "uq_panel_sessions_id"),
    "login of nobody": ([session(user=":new")], "fk_panel_sessions_users"),
    "one token for two half logins": ([pending(), pending(":other")], "pk_pending_logins"),
    "half login of nobody": ([pending(":new")], "fk_pending_logins_users"),
    "two second factors": ([factor(), factor()], "pk_second_factors"),
    "second factor of nobody": ([factor(":new")], "fk_second_factors_users"),
    "a step before all time": (
        [factor(step=-1)],
        "ck_second_factors_last_step_not_negative",
    ),
    "a step put before all time": (
        [factor(), "UPDATE second_factors SET last_step = -1 WHERE user_id = :shop"],
        "ck_second_factors_last_step_not_negative",
    ),
    "the same recovery code": ([code(), code()], "pk_recovery_codes"),
    "recovery code of nobody": ([code(":new")], "fk_recovery_codes_users"),
    "recovery code in plain": (
        [code(digest="'ABCDEFGHIJKLMNOPQRSTUVWX'")],
        "ck_recovery_codes_digest_is_sha256",
    ),
    "recovery code of nothing": ([code(digest="''")], "ck_recovery_codes_digest_is_sha256"),
    "failure at an unknown step": ([FAILURE.format("mail")], "ck_login_failures_step"),
    "failure of a taken number": (
        [
            FAILURE.format("code"),
            (
                "INSERT INTO login_failures (id, name, ip) OVERRIDING SYSTEM VALUE"
                " SELECT id, 'x', 'x' FROM login_failures"
            ),
        ],
        "pk_login_failures",
    ),
    "two looks of one person": ([look(), look()], "pk_panel_preferences"),
    "look of nobody": ([look(user=":new")], "fk_panel_preferences_users"),
    "unknown language": ([look(locale="'de'")], "ck_panel_preferences_locale_known"),
    "renewed all the time": ([look(refresh="1")], "ck_panel_preferences_refresh_known"),
    "unknown theme": ([look(theme="'system'")], "ck_panel_preferences_theme"),
    "empty time zone": ([look(timezone="''")], "ck_panel_preferences_timezone_length"),
    "long time zone": (
        [look(timezone="repeat('x', 65)")],
        "ck_panel_preferences_timezone_length",
    ),
    "unknown role": (["UPDATE users SET role = 'root' WHERE id = :shop"], "ck_users_role"),
    "user with a login": ([session(), "DELETE FROM users WHERE id = :shop"], "fk_"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], names: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = contents(connection)

    for role in roles.values():
        error = attack(role, names, *statements)
        assert constraint_name(error).startswith(constraint), str(error)

    assert contents(connection) == before


@pytest.mark.parametrize("role", ["admin", "operator", "viewer", "regular"])
def test_what_is_right_is_let_through(
    engine: Engine, connection: Connection, names: dict[str, Any], role: str
) -> None:
    statements = (
        f"UPDATE users SET role = '{role}' WHERE id = :shop",
        session(),
        pending(),
        factor(step=1),
        code(),
        code(":other"),
        FAILURE.format("password"),
        FAILURE.format("code"),
        look(locale="'ru'", timezone="repeat('x', 64)", theme="'dark'"),
        look(user=":other"),
    )
    with engine.begin() as other:
        for statement in statements:
            used = {name: value for name, value in names.items() if f":{name}" in statement}
            other.execute(text(statement), used)
    found = connection.scalar(text("SELECT role FROM users WHERE id = :shop"), names)
    assert found == role


# Whose first consent counts, and for what: against it the second must be another hand's.
COUNTS = [
    ("admin", "adjustment", True),
    ("admin", "payout", True),
    ("admin", "transaction", True),
    ("operator", "payout", True),
    ("operator", "transaction", True),
    ("operator", "adjustment", False),
    ("viewer", "payout", False),
    ("viewer", "adjustment", False),
    ("regular", "payout", False),
]


@pytest.mark.parametrize(("first", "kind", "counts"), COUNTS)
@pytest.mark.parametrize("active", [True, False])
def test_a_hand_consents_once_where_its_role_may_consent(
    roles: dict[str, Engine],
    names: dict[str, Any],
    connection: Connection,
    first: str,
    kind: str,
    counts: bool,
    active: bool,
) -> None:
    statements = [
        f"UPDATE users SET role = '{first}', active = {active} WHERE id = :other",
        approval(kind=kind, of="confirmed", by="other"),
        approval(kind=kind, of="confirmed", by="shop", hands=":shop, :other"),
    ]
    before = contents(connection)

    for role in roles.values():
        if counts and active:
            error = attack(role, names, *statements)
            assert constraint_name(error) == "two_pairs_of_hands", str(error)
            continue
        with role.connect() as consenting:
            for statement in statements:
                used = {name: value for name, value in names.items() if f":{name}" in statement}
                consenting.execute(text(statement), used)
            consenting.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            consenting.rollback()

    assert contents(connection) == before


def test_every_rule_of_access_has_been_attacked(connection: Connection) -> None:
    """A new CHECK, unique index, primary or foreign key fails this until somebody attacks it."""
    rules = connection.scalars(
        text(
            "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u', 'p')"
            " AND conrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique"
            " AND indrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
            " UNION SELECT 'ck_users_role'"
        ),
        {"tables": list(TABLES)},
    )
    assert set(rules) <= {constraint for _, constraint in REFUSED.values()}
