"""After healing: what the receivers say, beside what the books say. Nothing may be lost."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from tests.acceptance.chaos.scene import TRIES, Endpoint, Scene
from tests.acceptance.chaos.sinks import DOWN, GONE
from tests.acceptance.checker import check

# One attempt ends within so many seconds; its claim and its record are on either side.
ATTEMPT_SECONDS = 15 + 1

SHOWN = 20
SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")

EVENTS = text(
    "SELECT id, user_id, endpoint_id, type, sequence, payload, transaction_id, created_at"
    " FROM events ORDER BY position, id"
)
DELIVERIES = text(
    "SELECT d.id, d.event_id, d.endpoint_id, d.state, d.lease, d.attempt_count,"
    " (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id) AS tried,"
    " (SELECT array_agg(a.number) FROM attempts a WHERE a.delivery_id = d.id) AS numbers"
    " FROM deliveries d"
)
STOPPED = text(
    "SELECT id, extract(epoch FROM disabled_at)::float8 AS disabled_at, disabled_reason"
    " FROM webhook_endpoints WHERE disabled_at IS NOT NULL"
)
UNTOLD = text(
    "SELECT id FROM transactions t WHERE NOT EXISTS (SELECT FROM events e"
    " WHERE e.transaction_id = t.id AND e.type = 'transaction.created')"
)
# What still waits for a receiver that hears, or was stopped; the rest must come to an end.
OPEN = text(
    "SELECT count(*) FROM deliveries"
    " WHERE state = 'waiting' AND endpoint_id <> ALL (CAST(:down AS uuid[]))"
)
PENDING = text("SELECT count(*) FROM transactions WHERE status = 'pending'")
UNFOLDED = text("SELECT count(*) FROM balance_deltas")


def left_to_do(scene: Scene) -> dict[str, int]:
    """What the parts have not finished yet, by kind."""
    down = [each.id for each in scene.endpoints if each.place.temper == DOWN]
    with scene.books.connect() as connection:
        return {
            "waiting": connection.execute(OPEN, {"down": down}).scalar_one(),
            "pending": connection.execute(PENDING).scalar_one(),
            "unfolded": connection.execute(UNFOLDED).scalar_one(),
        }


@dataclass
class Proof:
    """The comparison, and the figures of the report."""

    scene: Scene
    said: dict[str, Any]
    findings: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def compare(self, connection: Connection) -> None:
        """Compare in one snapshot of ``connection``."""
        events = connection.execute(EVENTS).all()
        by_id = {str(event.id): event for event in events}
        deliveries = connection.execute(DELIVERIES).all()
        stopped = {row.id: row for row in connection.execute(STOPPED)}
        self._none("a transaction was created and not told of", connection.execute(UNTOLD).all())
        self._none("what the receivers complain of", self.said["complaints"])
        self._bodies(by_id)
        states: dict[UUID, dict[str, Row[Any]]] = defaultdict(dict)
        for row in deliveries:
            states[row.endpoint_id][str(row.event_id)] = row
        for endpoint in self.scene.endpoints:
            wanted = {
                str(event.id)
                for event in events
                if event.user_id == endpoint.user_id
                and event.endpoint_id != endpoint.id
                and endpoint.asks_for(event.type)
            }
            self._one(endpoint, wanted, states[endpoint.id], stopped.get(endpoint.id))
            if endpoint.place.ordered:
                self._order(endpoint, by_id)
        self._count(len(events), deliveries)

    def _bodies(self, by_id: dict[str, Row[Any]]) -> None:
        for webhook_id, hashes in self.said["bodies"].items():
            event = by_id.get(webhook_id)
            if event is None:
                self.findings.append(f"the unknown webhook {webhook_id}")
            elif hashes != [hashlib.sha256(event.payload.encode()).hexdigest()]:
                self.findings.append(f"{webhook_id} came with other bodies than its own: {hashes}")

    def _one(
        self,
        endpoint: Endpoint,
        wanted: set[str],
        rows: dict[str, Row[Any]],
        stopped: Row[Any] | None,
    ) -> None:
        name, temper = endpoint.place.name, endpoint.place.temper
        kept = self.said["kept"].get(name, {})
        accepted = {each for each, of_it in kept.items() if of_it["accepted"]}
        self._none(f"{name} got what it did not ask for", kept.keys() - wanted)
        self._none(
            f"{name}: delivered, says the sender alone",
            {each for each, row in rows.items() if row.state == "delivered"} - accepted,
        )
        if temper == DOWN:
            self._none(f"{name} has no delivery", wanted - rows.keys())
            self._none(
                f"{name} is down: its deliveries wait, or are dead after all their tries",
                [row for row in rows.values() if not (row.state == "waiting" or _is_dead(row))],
            )
        elif temper == GONE:
            self._gone(name, kept, rows, stopped)
        else:
            self._none(f"{name} was stopped", [stopped] if stopped else [])
            self._none(f"{name} never received", wanted - kept.keys())
            self._none(f"{name} never accepted", wanted - accepted)
            self._none(f"{name} has no delivery", wanted - rows.keys())
            self._none(
                f"{name} is owed", [row for row in rows.values() if row.state != "delivered"]
            )

    def _gone(
        self,
        name: str,
        kept: dict[str, dict[str, Any]],
        rows: dict[str, Row[Any]],
        stopped: Row[Any] | None,
    ) -> None:
        if stopped is None or stopped.disabled_reason != "gone":
            self.findings.append(f"{name} answered 410 and is not disabled: {stopped}")
            return
        self._none(
            f"{name} is gone and still waited for",
            [row for row in rows.values() if row.state not in ("delivered", "dead")],
        )
        after = {
            each: of_it["last_at"] - stopped.disabled_at
            for each, of_it in kept.items()
            if of_it["last_at"] > stopped.disabled_at + ATTEMPT_SECONDS
        }
        self._none(f"{name} was called after it was disabled", after.items())

    def _order(self, endpoint: Endpoint, by_id: dict[str, Row[Any]]) -> None:
        kept = self.said["kept"].get(endpoint.place.name, {})
        changes: dict[UUID, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for webhook_id, of_it in kept.items():
            event = by_id.get(webhook_id)
            if event and event.transaction_id:
                changes[event.transaction_id].append((event.sequence, of_it))
        for transaction_id, told in changes.items():
            told.sort(key=lambda change: change[0])
            for (_, former), (_, later) in pairwise(told):
                if not 0 < former["first_accepted"] < later["first"]:
                    self.findings.append(f"{endpoint.place.name}: {transaction_id} out of order")

    def _count(self, events: int, deliveries: Iterable[Row[Any]]) -> None:
        rows = list(deliveries)
        kept = [of_it for ids in self.said["kept"].values() for of_it in ids.values()]
        recorded = {(row.id, number) for row in rows for number in row.numbers or ()}
        self.figures = {
            "events": events,
            "deliveries": dict(Counter(row.state for row in rows)),
            "requests received": sum(of_it["tries"] for of_it in kept),
            "received again": sum(of_it["tries"] - 1 for of_it in kept),
            "accepted again (duplicates)": sum(
                of_it["accepted"] - 1 for of_it in kept if of_it["accepted"]
            ),
            "lost leases": sum(row.attempt_count - row.tried for row in rows),
            "in the hands of the killed": len(self.scene.in_hand - recorded),
            "answers of the receivers": self.said["answers"],
        }

    def sometimes(self) -> None:
        """A run that was spared what it is for proves nothing."""
        for what in ("received again", "lost leases", "in the hands of the killed"):
            if not self.figures[what]:
                self.findings.append(f"the run never saw: {what}")

    def _none(self, what: str, found: Iterable[Any]) -> None:
        several = list(found)
        self.findings += [f"{what}: {each}" for each in several[:SHOWN]]
        if len(several) > SHOWN:
            self.findings.append(f"{what}: and {len(several) - SHOWN} more")


def _is_dead(row: Row[Any]) -> bool:
    return bool(row.state == "dead" and row.attempt_count > TRIES)


def prove(scene: Scene) -> dict[str, Any]:
    """Fail with everything that was lost, doubled, forged or left over; return the figures."""
    proof = Proof(scene, scene.sinks.report())
    snapshot = scene.books.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as connection:
        proof.compare(connection)
    proof.sometimes()
    assert not proof.findings, "\n".join(proof.findings)
    check(
        scene.books,
        clients=scene.lives.log,
        swept=True,
        logs=scene.logs,
        secrets=scene.secrets,
    )
    signed = [path.name for path in scene.logs if _holds_signature(path)]
    assert not signed, f"signatures stand in {signed}"
    assert "the books are right" in scene.parts.starter.run(["verify"], scene.parts.settings)
    return proof.figures


def _holds_signature(path: Path) -> bool:
    return SIGNATURE.search(path.read_text(errors="replace")) is not None
