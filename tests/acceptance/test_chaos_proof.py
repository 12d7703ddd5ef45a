"""The proof of the long run sees each kind of loss; one that sees nothing would prove nothing."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import transaction_service, webhook_service
from standart.services.webhook_work import AttemptResult
from tests import builders
from tests.acceptance.chaos.proof import Proof
from tests.acceptance.chaos.scene import Endpoint, Place
from tests.acceptance.chaos.sinks import DOWN, GONE, STEADY
from tests.builders import ORIGIN

GOOD = AttemptResult("delivered", 200, "", "", 1)
AWAY = AttemptResult("http_410", 410, "", "", 1)
FAILED = AttemptResult("refused", None, "", "", 1)
ANSWERS = {STEADY: GOOD, GONE: AWAY, DOWN: FAILED}
PLACES = (
    Place("plain", STEADY),
    Place("all", STEADY, ("*",), ordered=True),
    Place("gone", GONE, ("transaction.*",)),
    Place("down", DOWN, ("*",)),
)

Said = dict[str, Any]


@pytest.fixture
def endpoints(engine: Engine, keyring: Keyring) -> list[Endpoint]:
    """A merchant's endpoints, and what happened to one transaction, told by the rules."""
    owner = builders.make_user(engine, keyring, webhook_url="https://shop.example/plain")
    found = [Endpoint(PLACES[0], owner.id, owner.id)]
    for place in PLACES[1:]:
        url = f"https://shop.example/{place.name}"
        made = builders.make_endpoint(
            engine, keyring, owner, *place.types, url=url, ordered=place.ordered
        )
        found.append(Endpoint(place, made.id, owner.id))
    created = builders.make_transaction(engine, owner)
    with autocommit(engine) as connection:
        transaction_service.cancel(connection, owner.digest, ORIGIN, created["id"])
        tempers = {each.id: each.place.temper for each in found}
        while claimed := webhook_service.claim_due(connection, keyring).deliveries:
            webhook_service.record_attempts(
                connection,
                [(each, ANSWERS[tempers[each.endpoint_id]]) for each in claimed],
                schedule=(3600,),
            )
    return found


@pytest.fixture
def said(engine: Engine, endpoints: list[Endpoint]) -> Said:
    """What receivers would say to whom all of this was sent."""
    query = text(
        "SELECT d.endpoint_id, e.id::text, e.payload, d.state FROM deliveries d"
        " JOIN events e ON e.id = d.event_id WHERE d.attempt_count > 0 ORDER BY e.sequence"
    )
    names = {each.id: each.place.name for each in endpoints}
    kept: dict[str, dict[str, Any]] = {name: {} for name in names.values()}
    bodies = {}
    with engine.connect() as connection:
        for order, row in enumerate(connection.execute(query), 1):
            good = int(row.state == "delivered")
            kept[names[row.endpoint_id]][row.id] = {
                "tries": 1,
                "accepted": good,
                "first": order,
                "first_accepted": order * good,
                "last_at": 0.0,
            }
            bodies[row.id] = [hashlib.sha256(row.payload.encode()).hexdigest()]
    return {"kept": kept, "bodies": bodies, "complaints": [], "answers": {}}


def findings(engine: Engine, endpoints: list[Endpoint], said: Said, *damage: str) -> str:
    """What the proof finds after ``damage``, all of which is rolled back."""
    proof = Proof(SimpleNamespace(endpoints=endpoints, in_hand=set()), said)  # type: ignore[arg-type]
    with engine.connect() as connection, connection.begin() as unit:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in damage:
            assert connection.execute(text(statement)).rowcount
        proof.compare(connection)
        unit.rollback()
    return "\n".join(proof.findings)


def test_it_finds_nothing_where_all_is_well(
    superuser: Engine, endpoints: list[Endpoint], said: Said
) -> None:
    assert findings(superuser, endpoints, said) == ""
    assert {name: len(kept) for name, kept in said["kept"].items()} == {
        "plain": 1,
        "all": 3,
        "gone": 2,
        "down": 3,
    }, "the event of the disabled one included"


def lose(said: Said) -> None:
    said["kept"]["plain"].clear()


def never_accept(said: Said) -> None:
    next(iter(said["kept"]["all"].values()))["accepted"] = 0


def change_a_body(said: Said) -> None:
    next(iter(said["bodies"].values())).append("another")


def invent(said: Said) -> None:
    said["bodies"]["invented"] = ["body"]


def send_elsewhere(said: Said) -> None:
    said["kept"]["plain"].update(said["kept"]["all"])


def complain(said: Said) -> None:
    said["complaints"].append("a forged signature")


def call_the_gone(said: Said) -> None:
    next(iter(said["kept"]["gone"].values()))["last_at"] = 1e12


def send_out_of_order(said: Said) -> None:
    *_, last = said["kept"]["all"].values()
    last["first"] = 0


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lose, "plain never received"),
        (never_accept, "delivered, says the sender alone"),
        (change_a_body, "came with other bodies"),
        (invent, "unknown webhook invented"),
        (send_elsewhere, "plain got what it did not ask for"),
        (complain, "a forged signature"),
        (call_the_gone, "gone was called after"),
        (send_out_of_order, "out of order"),
    ],
)
def test_it_finds_what_receivers_have_seen(
    superuser: Engine,
    endpoints: list[Endpoint],
    said: Said,
    damage: Callable[[Said], None],
    finding: str,
) -> None:
    damaged = copy.deepcopy(said)
    damage(damaged)
    assert finding in findings(superuser, endpoints, damaged)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM events WHERE type = 'transaction.created'", "not told of"),
        ("DELETE FROM deliveries WHERE state = 'delivered'", "has no delivery"),
        ("UPDATE deliveries SET state = 'dead' WHERE state = 'delivered'", "all is owed"),
        (
            "UPDATE deliveries SET state = 'dead', next_attempt_at = NULL WHERE state = 'waiting'",
            "down is down",
        ),
        (
            "UPDATE deliveries SET state = 'waiting', next_attempt_at = now() WHERE state = 'dead'",
            "gone is gone and still waited for",
        ),
        (
            "UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = NULL",
            "gone answered 410",
        ),
        (
            "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'gone'",
            "plain was stopped",
        ),
    ],
)
def test_it_finds_what_the_books_lack(
    superuser: Engine, endpoints: list[Endpoint], said: Said, statement: str, finding: str
) -> None:
    assert finding in findings(superuser, endpoints, said, statement)


def test_a_run_that_was_spared_everything_proves_nothing(
    superuser: Engine, endpoints: list[Endpoint], said: Said
) -> None:
    proof = Proof(SimpleNamespace(endpoints=endpoints, in_hand=set()), said)  # type: ignore[arg-type]
    with superuser.connect() as connection:
        proof.compare(connection)
    proof.sometimes()
    assert len(proof.findings) == 3
