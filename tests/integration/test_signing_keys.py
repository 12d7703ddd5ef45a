"""Keys that sign receipts: one current, none ever lost or exchanged; by hand and by attack."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart import encryption
from standart.db import autocommit, constraint_name, sqlstate
from standart.encryption import Keyring
from standart.errors import ConfigurationError
from standart.receipts import keys
from standart.services import sealing_service, signing_key_service
from standart.services.access import SYSTEM
from tests.conftest import ENCRYPTION_KEYS
from tests.integration.attacks import DENIED, attack
from tests.integration.commands import Run, refused
from tests.integration.concurrency import together
from tests.world import contents

ROW = text("SELECT * FROM signing_keys WHERE retired_at IS NULL")
AUDIT = text(
    "SELECT action, object_id, actor_name FROM audit_log"
    " WHERE object_type = 'signing_key' ORDER BY id"
)


def private_key(connection: Connection, ring: Keyring) -> bytes:
    row = connection.execute(ROW).one()
    return signing_key_service.open_key(ring, row.id, row.private_key)


def test_the_first_use_makes_a_key_and_the_next_finds_it(
    connection: Connection, keyring: Keyring
) -> None:
    assert signing_key_service.list_keys(connection) == []
    made = signing_key_service.ensure(connection, keyring)
    assert signing_key_service.ensure(connection, keyring) == made
    (key,) = signing_key_service.list_keys(connection)
    assert (key.id, key.retired_at) == (made, None)
    assert made == hashlib.sha256(key.public_key).hexdigest()[:16]
    assert keys.public_key_of(private_key(connection, keyring)) == key.public_key
    assert list(connection.execute(AUDIT)) == [("signing_key.created", made, "system")]


def test_hosts_that_begin_at_once_make_one_key(
    engine: Engine, connection: Connection, keyring: Keyring
) -> None:
    def begin() -> str:
        with autocommit(engine) as own:
            return signing_key_service.ensure(own, keyring)

    made = together([begin] * 8)
    assert len(set(made)) == 1
    assert [key.id for key in signing_key_service.list_keys(connection)] == made[:1]


def test_hosts_that_rotate_and_begin_at_once_leave_one_current_key(
    engine: Engine, connection: Connection, keyring: Keyring
) -> None:
    def rotate() -> object:
        with autocommit(engine) as own:
            return signing_key_service.rotate(own, SYSTEM, keyring)

    def begin() -> object:
        with autocommit(engine) as own:
            return signing_key_service.ensure(own, keyring)

    outcomes = together([rotate, begin] * 4)
    assert not [each for each in outcomes if isinstance(each, Exception)]
    listed = signing_key_service.list_keys(connection)
    assert [key.retired_at is None for key in listed] == [True] + [False] * (len(listed) - 1)
    assert len(listed) in (4, 5), "each rotation made one, whoever came first"


def test_a_retired_key_keeps_its_public_half_and_loses_the_other(
    connection: Connection, keyring: Keyring
) -> None:
    first = signing_key_service.ensure(connection, keyring)
    (before,) = signing_key_service.list_keys(connection)
    second, former = signing_key_service.rotate(connection, SYSTEM, keyring)
    assert (former, second != first) == (first, True)
    new, old = signing_key_service.list_keys(connection)
    assert (new.id, new.retired_at) == (second, None)
    assert (old.id, old.public_key, old.created_at) == (first, before.public_key, before.created_at)
    assert old.retired_at is not None
    left = text("SELECT private_key FROM signing_keys WHERE id = :id")
    assert connection.scalar(left, {"id": first}) is None
    assert [tuple(row)[:2] for row in connection.execute(AUDIT)] == [
        ("signing_key.created", first),
        ("signing_key.retired", first),
        ("signing_key.created", second),
    ]


def test_a_box_opens_for_its_own_row_alone(connection: Connection, keyring: Keyring) -> None:
    made = signing_key_service.ensure(connection, keyring)
    box = connection.execute(ROW).one().private_key
    with pytest.raises(ConfigurationError):
        signing_key_service.open_key(keyring, made[::-1], box)


def test_a_newer_encryption_key_seals_it_anew(connection: Connection, keyring: Keyring) -> None:
    signing_key_service.ensure(connection, keyring)
    signing_key_service.rotate(connection, SYSTEM, keyring)
    before = private_key(connection, keyring)
    fresh = encryption.generate_key("fresh")
    both = Keyring.parse(f"{fresh},{ENCRYPTION_KEYS}")

    assert sealing_service.count_stale(connection, both)["signing keys"] == 1
    assert sealing_service.reseal(connection, SYSTEM, both)["signing keys"] == 1

    assert sealing_service.boxes_by_key(connection) == {"fresh": 1}
    assert private_key(connection, Keyring.parse(fresh)) == before
    assert sealing_service.reseal(connection, SYSTEM, both)["signing keys"] == 0


# What the database refuses, whoever asks

ADD = "INSERT INTO signing_keys (id, public_key, private_key{more}) VALUES ({id}, {key}, {box}{on})"
ID = "substr(encode(sha256({}), 'hex'), 1, 16)"
FRESH = "decode(repeat('ab', 32), 'hex')"
SHORT = "decode(repeat('ab', 31), 'hex')"
CHANGE = "UPDATE signing_keys SET {} WHERE id = :current"
OLD = "UPDATE signing_keys SET {} WHERE id = :retired"
RETIRE = CHANGE.format("retired_at = clock_timestamp(), private_key = NULL")
GOES_ON = "signing_key_goes_on"


def add(key: str = FRESH, id: str = "", box: str = "'x'", more: str = "", on: str = "") -> str:
    return ADD.format(id=id or ID.format(key), key=key, box=box, more=more, on=on)


REFUSED = {
    "second current key": ([add()], "uq_signing_keys_current"),
    "key twice": (
        [RETIRE, add(":public_key", ":current")],
        "pk_signing_keys",
    ),
    "key under another's name": (
        [RETIRE, add(id="'0123456789abcdef'")],
        "ck_signing_keys_id_of_its_key",
    ),
    "short key": ([RETIRE, add(SHORT)], "ck_signing_keys_public_key_is_ed25519"),
    "current without its private half": (
        [RETIRE, add(box="NULL")],
        "ck_signing_keys_private_until_retired",
    ),
    "retired with its private half": (
        [CHANGE.format("retired_at = clock_timestamp()")],
        "ck_signing_keys_private_until_retired",
    ),
    "retired before it was made": (
        [CHANGE.format("retired_at = created_at - interval '1 second', private_key = NULL")],
        "ck_signing_keys_retired_after_creation",
    ),
    "retired in the future": (
        [CHANGE.format("retired_at = clock_timestamp() + interval '1 s', private_key = NULL")],
        GOES_ON,
    ),
    "foreign key brought in as a retired one": (
        [add(box="NULL", more=", retired_at", on=", now()")],
        GOES_ON,
    ),
    "key of the future": (
        [RETIRE, add(more=", created_at", on=", now() + interval '1 day'")],
        GOES_ON,
    ),
    "key lost": ([CHANGE.format("private_key = NULL")], GOES_ON),
    "box of the same encryption key": (
        [CHANGE.format("private_key = :same")],
        GOES_ON,
    ),
    "no box": ([CHANGE.format("private_key = 'x'")], GOES_ON),
    "retired one revived": (
        [RETIRE, OLD.format("retired_at = NULL, private_key = :other")],
        GOES_ON,
    ),
    "retired one with a private half": ([OLD.format("private_key = :other")], GOES_ON),
    "retired at another time": ([OLD.format("retired_at = created_at")], GOES_ON),
}
OWNERS = {
    "public half exchanged": f"public_key = {FRESH}",
    "public half and name exchanged": f"public_key = {FRESH}, id = {ID.format(FRESH)}",
    "made at another time": "created_at = created_at - interval '1 day'",
    "sealed anew and exchanged": f"private_key = :other, public_key = {FRESH}",
}


@pytest.fixture
def two(connection: Connection, keyring: Keyring) -> dict[str, Any]:
    """A retired key and a current one."""
    retired = signing_key_service.ensure(connection, keyring)
    current, _ = signing_key_service.rotate(connection, SYSTEM, keyring)
    row = connection.execute(ROW).one()
    newer = Keyring.parse(f"{encryption.generate_key('newer')},{ENCRYPTION_KEYS}")
    return {
        "retired": retired,
        "current": current,
        "public_key": row.public_key,
        "same": signing_key_service.reseal(keyring, current, row.private_key),
        "other": signing_key_service.reseal(newer, current, row.private_key),
    }


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], two: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = contents(connection)
    for role in roles.values():
        error = attack(role, two, *statements)
        assert constraint_name(error) == constraint, str(error)
    assert contents(connection) == before


@pytest.mark.parametrize("case", OWNERS)
def test_nobody_exchanges_a_key(
    roles: dict[str, Engine], two: dict[str, Any], connection: Connection, case: str
) -> None:
    before = contents(connection)
    for statement in (CHANGE, OLD):
        errors = {
            name: attack(role, two, statement.format(OWNERS[case])) for name, role in roles.items()
        }
        assert sqlstate(errors.pop("application")) == DENIED
        assert {constraint_name(error) for error in errors.values()} == {GOES_ON}
    assert contents(connection) == before


@pytest.mark.parametrize("statement", ["DELETE FROM signing_keys", "TRUNCATE signing_keys"])
def test_no_key_is_ever_deleted(
    roles: dict[str, Engine], two: dict[str, Any], connection: Connection, statement: str
) -> None:
    before = contents(connection)
    errors = {name: attack(role, two, statement) for name, role in roles.items()}
    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is kept" in str(error)
    assert contents(connection) == before


def test_every_rule_of_keys_has_been_attacked(connection: Connection) -> None:
    """A new CHECK, unique index or key fails this until somebody attacks it."""
    rules = connection.scalars(
        text(
            "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u', 'p')"
            " AND conrelid = 'signing_keys'::regclass"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique"
            " AND indrelid = 'signing_keys'::regclass"
        )
    )
    assert set(rules) <= {constraint for _, constraint in REFUSED.values()}


# The commands


def test_the_command_rotates(run: Run, connection: Connection) -> None:
    first = run("rotate-receipt-key")
    assert (first.exit_code, len(first.stdout.splitlines())) == (0, 1)
    (made,) = signing_key_service.list_keys(connection)
    assert made.id in first.stdout

    second = run("rotate-receipt-key")
    assert second.exit_code == 0
    current, retired = signing_key_service.list_keys(connection)
    assert current.id in second.stdout.splitlines()[0]
    assert f"{retired.id} has retired" in second.stdout
    told = {tuple(row) for row in connection.execute(AUDIT)}
    assert ("signing_key.retired", retired.id, "command line") in told


def test_the_command_needs_the_ring(run: Run, connection: Connection) -> None:
    refused(run("rotate-receipt-key", STANDART_ENCRYPTION_KEYS=""), 2, "STANDART_ENCRYPTION_KEYS")
    assert signing_key_service.list_keys(connection) == []


def test_migrating_makes_the_first_key_where_there_is_a_ring(
    run: Run, connection: Connection
) -> None:
    assert run("migrate", STANDART_ENCRYPTION_KEYS="").exit_code == 0
    assert signing_key_service.list_keys(connection) == []
    assert run("migrate").exit_code == 0
    (made,) = signing_key_service.list_keys(connection)
    assert run("migrate").exit_code == 0
    assert [key.id for key in signing_key_service.list_keys(connection)] == [made.id]
