"""A new key in front of the ring: everything is sealed anew with it, and nothing gets lost."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart import encryption
from standart.db import transaction
from standart.embedded.private_files import read_pairs, write_pairs
from standart.encryption import Keyring
from standart.models import User
from standart.services import (
    endpoint_service,
    idempotency_service,
    payout_destination,
    sealing_service,
    user_service,
)
from standart.services.access import SYSTEM
from standart.services.idempotency_service import Answer, IdempotencyClaim
from tests.builders import ORIGIN, TestUser, make_user
from tests.conftest import ENCRYPTION_KEYS
from tests.integration.ages import grow_old
from tests.integration.attacks import attack
from tests.integration.books import findings
from tests.integration.commands import Run
from tests.integration.concurrency import blocked
from tests.movements import Mover

NEW = encryption.generate_key("fresh")
BOTH = f"{NEW},{ENCRYPTION_KEYS}"
WHERE = {"iban": "DE89370400440532013000"}


@pytest.fixture
def both() -> Keyring:
    return Keyring.parse(BOTH)


@pytest.fixture
def new() -> Keyring:
    return Keyring.parse(NEW)


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    """A merchant whose endpoint has a box of each kind."""
    made = make_user(engine, keyring, webhook_url="https://shop.example/")
    with Session(engine) as session, transaction(session):
        endpoint = session.get_one(User, made.id).endpoint
        endpoint_service.rotate_secret(session, SYSTEM, keyring, endpoint)
        endpoint.headers = endpoint_service.seal_headers(keyring, endpoint.id, {"x-door": "open"})
        endpoint.header_names = ["x-door"]
    return made


@pytest.fixture
def payout(connection: Connection, superuser: Engine, keyring: Keyring, shop: TestUser) -> UUID:
    mover = Mover(connection, shop.id)
    mover.adjust(10_000)
    payout_id = mover.reserve(5_000)
    box = payout_destination.seal(keyring, shop.id, payout_id, WHERE)
    with superuser.begin() as everything:
        everything.execute(text("SET LOCAL session_replication_role = replica"))
        everything.execute(
            text("UPDATE payouts SET destination = :box WHERE id = :id"),
            {"box": box, "id": payout_id},
        )
    return payout_id


@pytest.fixture
def kept(connection: Connection, keyring: Keyring, shop: TestUser) -> None:
    """An answer that shows a secret, beside one that does not."""
    idempotency_service.keep(connection, shop.id, CLAIM, Answer(201, ANSWER), keyring)
    plain = IdempotencyClaim.of("/create_transaction", "once", b"{}")
    idempotency_service.keep(connection, shop.id, plain, Answer(201, "{}"))


def reseal(connection: Connection, ring: Keyring, batch: int = 500) -> dict[str, int]:
    return dict(sealing_service.reseal(connection, SYSTEM, ring, batch=batch))


ALL = {
    "endpoint secrets": 1,
    "former endpoint secrets": 1,
    "endpoint headers": 1,
    "payout destinations": 1,
    "signing keys": 0,
    "second factors": 0,
    "kept answers": 1,
}
CLAIM = IdempotencyClaim.of("/webhook_endpoints", "once", b"what was asked")
ANSWER = '{"secret": "' + 100 * "long" + '"}'
NONE = dict.fromkeys(ALL, 0)


def test_everything_opens_with_the_new_key_alone(
    connection: Connection,
    engine: Engine,
    admin: TestUser,
    keyring: Keyring,
    both: Keyring,
    new: Keyring,
    shop: TestUser,
    payout: UUID,
    kept: None,
) -> None:
    with Session(engine) as session:
        endpoint = session.get_one(User, shop.id).endpoint
        secrets = endpoint_service.open_secrets(
            keyring, shop.id, endpoint.secret, endpoint.previous_secret
        )
    assert sealing_service.boxes_by_key(connection) == {"k1": 6}
    assert sealing_service.count_stale(connection, both) == ALL | {"endpoint secrets": 2}

    assert reseal(connection, both) == ALL | {"endpoint secrets": 2}

    assert sealing_service.boxes_by_key(connection) == {"fresh": 6}
    assert sealing_service.count_stale(connection, both) == NONE
    with Session(engine) as session:
        endpoint = session.get_one(User, shop.id).endpoint
        assert secrets == endpoint_service.open_secrets(
            new, shop.id, endpoint.secret, endpoint.previous_secret
        )
        assert endpoint_service.open_headers(new, shop.id, endpoint.headers) == {"x-door": "open"}
    answer = payout_destination.read(connection, admin.digest, ORIGIN, new, payout)
    assert WHERE["iban"] in answer.body
    again = idempotency_service.take(connection, shop.id, CLAIM, new)
    assert again == Answer(201, ANSWER, replayed=True)
    assert reseal(connection, both) == NONE
    assert findings(engine) == []


def test_it_is_told_in_the_audit_log(
    connection: Connection, both: Keyring, shop: TestUser, payout: UUID, kept: None
) -> None:
    reseal(connection, both)
    reseal(connection, both)
    told = text(
        "SELECT action, object_id, before, after FROM audit_log WHERE action LIKE '%seal%'"
        " OR action LIKE 'encryption%' ORDER BY id"
    )
    assert [tuple(row) for row in connection.execute(told)] == [
        ("payout.destination_resealed", str(payout), {"key": "k1"}, {"key": "fresh"}),
        ("encryption_key.rotated", "fresh", None, ALL),
    ]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_batches_of_any_size_reach_every_box(
    connection: Connection, engine: Engine, keyring: Keyring, both: Keyring, batch: int
) -> None:
    for _ in range(4):
        make_user(engine, keyring)
    assert reseal(connection, both, batch)["endpoint secrets"] == 4
    assert sealing_service.boxes_by_key(connection) == {"fresh": 4}


def test_what_does_not_open_stays_and_holds_up_nothing(
    connection: Connection, engine: Engine, superuser: Engine, both: Keyring, shop: TestUser
) -> None:
    lost = make_user(engine, Keyring.parse(encryption.generate_key("lost")))
    moved = make_user(engine, Keyring.parse(ENCRYPTION_KEYS))
    with superuser.begin() as everything:
        everything.execute(
            text(
                "UPDATE webhook_endpoints SET secret = (SELECT secret FROM webhook_endpoints"
                " WHERE id = :shop) WHERE id = :moved"
            ),
            {"shop": shop.id, "moved": moved.id},
        )
        everything.execute(
            text("UPDATE webhook_endpoints SET headers = 'x' WHERE id = :id"), {"id": lost.id}
        )
    reseal(connection, both)
    assert sealing_service.boxes_by_key(connection) == {"fresh": 3, "lost": 1, "k1": 1, "": 1}


def test_a_secret_that_is_rotated_meanwhile_is_not_overwritten(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    keyring: Keyring,
    both: Keyring,
    shop: TestUser,
) -> None:
    with Session(engine) as session:
        user = user_service.find_user(session, shop.name)
        assert user is not None
        secret = endpoint_service.rotate_secret(session, SYSTEM, keyring, user.endpoint)
        with blocked(superuser, lambda: reseal(connection, both)) as waiting:
            session.commit()
    # The old box was gone when its turn came; a second round found the newer ones.
    assert waiting.result()["endpoint secrets"] == 1
    with Session(engine) as session:
        endpoint = session.get_one(User, shop.id).endpoint
        assert endpoint_service.secret_of(both, endpoint) == secret
    assert sealing_service.boxes_by_key(connection) == {"fresh": 3}


# The database allows a payout another box for the same fields, by the function alone.

CHANGES = {
    "a box of the same key": "destination = :same",
    "no box": "destination = :short",
    "nothing": "destination = NULL",
    "a box and a sum": "destination = :other, amount = 1",
    "a box and what is shown": 'destination = :other, destination_shown = \'{"iban": "x"}\'',
    "a box and a status": "destination = :other, status = 'canceled', finished_at = now()",
}


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_changes_more_than_the_box(
    roles: dict[str, Engine],
    keyring: Keyring,
    both: Keyring,
    shop: TestUser,
    payout: UUID,
    change: str,
) -> None:
    boxes = {
        "same": payout_destination.seal(keyring, shop.id, payout, WHERE),
        "other": payout_destination.seal(both, shop.id, payout, WHERE),
        "short": b"\1\1x",
        "id": payout,
    }
    for role in roles.values():
        error = attack(role, boxes, f"UPDATE payouts SET {CHANGES[change]} WHERE id = :id")
        assert "payout_goes_on" in str(error) or "cannot go from" in str(error)


def test_the_service_changes_no_box_by_itself(
    roles: dict[str, Engine], both: Keyring, shop: TestUser, payout: UUID
) -> None:
    box = {"other": payout_destination.seal(both, shop.id, payout, WHERE), "id": payout}
    for name in ("application", "superuser"):
        error = attack(roles[name], box, "UPDATE payouts SET destination = :other WHERE id = :id")
        assert "cannot go from" in str(error)


def test_the_function_does_not_overwrite_a_box_that_it_was_not_shown(
    connection: Connection, both: Keyring, shop: TestUser, payout: UUID
) -> None:
    moved = connection.scalar(
        text(
            "SELECT standart_reseal_destinations(ARRAY[CAST(:user AS uuid)],"
            " ARRAY[CAST(:id AS uuid)], ARRAY[CAST('x' AS bytea)], ARRAY[CAST(:box AS bytea)],"
            " 'me', 'test')"
        ),
        {
            "user": shop.id,
            "id": payout,
            "box": payout_destination.seal(both, shop.id, payout, WHERE),
        },
    )
    assert moved == 0
    assert sealing_service.boxes_by_key(connection)["k1"] == 4


def test_an_old_payout_whose_event_was_purged_is_sealed_anew_and_goes_on(
    connection: Connection,
    engine: Engine,
    superuser: Engine,
    both: Keyring,
    shop: TestUser,
    payout: UUID,
) -> None:
    grow_old(superuser, 40)
    connection.execute(text("UPDATE deliveries SET state = 'delivered', next_attempt_at = NULL"))
    purged = text("SELECT purged FROM standart_purge_events(now() - interval '30 days', 10)")
    assert connection.scalar(purged)

    assert reseal(connection, both)["payout destinations"] == 1

    Mover(connection, shop.id).finish(payout, "paid", 5_000)
    assert findings(engine) == []


# The command.


def test_the_command_makes_a_key_then_seals_anew_then_is_done(
    run: Run, connection: Connection, shop: TestUser, payout: UUID
) -> None:
    first = run("rotate-encryption-key")
    assert first.exit_code == 1
    key = first.stdout.strip()
    assert key.startswith("k2:")
    assert "restart all processes" in first.stderr
    assert key not in first.stderr

    ring = f"{key},{ENCRYPTION_KEYS}"
    counted = run("rotate-encryption-key", "--dry-run", STANDART_ENCRYPTION_KEYS=ring)
    assert counted.exit_code == 1
    assert "endpoint secrets: 1 to seal anew" in counted.stdout
    assert "key k1 (old): 4 boxes" in counted.stdout
    assert sealing_service.boxes_by_key(connection) == {"k1": 4}

    second = run("rotate-encryption-key", STANDART_ENCRYPTION_KEYS=ring)
    assert second.exit_code == 0
    assert "payout destinations: 1 sealed anew" in second.stdout
    assert "key k2 (newest): 4 boxes" in second.stdout
    assert "key k1 (old): 0 boxes" in second.stdout
    assert "k1 can be taken out of STANDART_ENCRYPTION_KEYS" in second.stdout

    alone = run("rotate-encryption-key", "--dry-run", STANDART_ENCRYPTION_KEYS=key)
    assert alone.exit_code == 0


def test_the_command_names_what_hangs_on_a_missing_key(
    run: Run, engine: Engine, shop: TestUser
) -> None:
    make_user(engine, Keyring.parse(encryption.generate_key("lost")))
    done = run("rotate-encryption-key", STANDART_ENCRYPTION_KEYS=BOTH)
    assert done.exit_code == 1
    assert "key lost (missing): 1 boxes" in done.stdout
    assert "1 boxes do not hang on the newest key fresh" in done.stderr
    done = run("rotate-encryption-key")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "lacks keys that boxes hang on (fresh, lost)" in done.stderr


def test_beside_a_running_tree_the_key_goes_into_its_data_dir(
    run: Run, environment: dict[str, str], tmp_path: Path, shop: TestUser
) -> None:
    root = tmp_path / ".standart"
    root.mkdir()
    write_pairs(root / "environment", environment)
    kept = {"SECRET_KEY": "x", "STANDART_ENCRYPTION_KEYS": ENCRYPTION_KEYS}
    write_pairs(root / "secrets", kept)
    nothing = dict.fromkeys(environment, "")

    first = run("rotate-encryption-key", **nothing)
    assert first.exit_code == 1
    assert first.stdout == ""
    assert "restart `standart up`" in first.stderr
    ring = read_pairs(root / "secrets")["STANDART_ENCRYPTION_KEYS"]
    assert ring.startswith("k2:")
    assert ring.endswith(f",{ENCRYPTION_KEYS}")
    assert read_pairs(root / "secrets")["SECRET_KEY"] == "x"
    assert (root / "secrets").stat().st_mode & 0o777 == 0o600

    again = run("rotate-encryption-key", **nothing)
    assert again.exit_code == 1
    assert "still runs without its new key k2" in again.stderr
    assert read_pairs(root / "secrets")["STANDART_ENCRYPTION_KEYS"] == ring

    write_pairs(root / "environment", environment | {"STANDART_ENCRYPTION_KEYS": ring})
    assert run("rotate-encryption-key", **nothing).exit_code == 0

    another = run("rotate-encryption-key", "--new-key", **nothing)
    assert another.exit_code == 1
    assert read_pairs(root / "secrets")["STANDART_ENCRYPTION_KEYS"].startswith("k3:")


def test_a_tree_whose_keys_come_from_its_environment_is_told_what_to_set(
    run: Run, environment: dict[str, str], tmp_path: Path, shop: TestUser
) -> None:
    root = tmp_path / ".standart"
    root.mkdir()
    write_pairs(root / "environment", environment)
    write_pairs(root / "secrets", {"STANDART_ENCRYPTION_KEYS": encryption.generate_key("else")})
    done = run("rotate-encryption-key", **dict.fromkeys(environment, ""))
    assert done.exit_code == 1
    assert done.stdout.startswith("k2:")
    assert "in front of STANDART_ENCRYPTION_KEYS" in done.stderr
