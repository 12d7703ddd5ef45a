"""What the owner of the database could do to the chain, with every trigger switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text

from standart.services import canonical, chain, close_service

_MOVES_ALONG = (
    (
        "UPDATE entries SET amount = amount + CASE kind WHEN 'available' THEN 500 ELSE -500 END"
        " WHERE (user_id, journal_id) IN (SELECT user_id, id FROM journals"
        " WHERE adjustment_id = :adjustment)"
    ),
    "UPDATE adjustments SET amount = amount + 500 WHERE id = :adjustment",
    (
        "UPDATE accounts SET balance = balance + CASE kind WHEN 'available' THEN 500 ELSE -500 END"
        " WHERE kind IN ('available', 'adjustment') AND user_id = :shop"
    ),
)

_TRACES = (
    (
        "DELETE FROM deliveries WHERE event_id IN (SELECT id FROM events"
        " WHERE adjustment_id = :adjustment)"
    ),
    "DELETE FROM events WHERE adjustment_id = :adjustment",
    "DELETE FROM audit_log WHERE object_id = CAST(:adjustment AS text)",
    (
        "UPDATE accounts a SET balance = balance - e.amount FROM entries e JOIN journals j"
        " ON (j.user_id, j.id) = (e.user_id, e.journal_id) WHERE j.adjustment_id = :adjustment"
        " AND (a.user_id, a.currency, a.kind) = (e.user_id, e.currency, e.kind)"
    ),
    (
        "DELETE FROM entries WHERE journal_id IN (SELECT id FROM journals"
        " WHERE adjustment_id = :adjustment)"
    ),
    "DELETE FROM journals WHERE adjustment_id = :adjustment",
    "DELETE FROM adjustments WHERE id = :adjustment",
)


@contextmanager
def behind(superuser: Engine) -> Iterator[Connection]:
    """Hold a transaction in which no trigger and no foreign key works."""
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield connection


def run(connection: Connection, *statements: str, **names: Any) -> None:
    """Run statements of which each must change something."""
    for statement in statements:
        used = {name: value for name, value in names.items() if f":{name}" in statement}
        assert connection.execute(text(statement), used).rowcount > 0, statement


def change_everywhere(connection: Connection, **names: Any) -> None:
    """Give a merchant more than was posted, and change all that follows from it along."""
    run(connection, *_MOVES_ALONG, **names)


def forget(connection: Connection, **names: Any) -> None:
    """Take an adjustment away with its journal and every trace of it."""
    for statement in _TRACES:
        used = {name: value for name, value in names.items() if f":{name}" in statement}
        connection.execute(text(statement), used)


def rebuild(connection: Connection) -> None:
    """Make every seal anew from the journals as they are now, as an owner could."""
    former = None
    for seal in connection.execute(text("SELECT * FROM seals ORDER BY number")).all():
        lines = connection.scalars(
            text(
                f"SELECT {canonical.LINE} FROM journals j WHERE j.created_at < :before"
                f" AND j.created_at >= :since ORDER BY {canonical.ORDER}"
            ),
            {"before": seal.before, "since": former.before if former else "-infinity"},
        ).all()
        digest = canonical.Digest()
        for line in lines:
            digest.add(line)
        link = chain.next_link(former, seal.before, digest)
        marks = b"".join(map(canonical.mark, lines))
        run(
            connection,
            "UPDATE seals SET journals = :journals, total = :total, previous = :previous,"
            " content = :content, hash = :hash, marks = :marks WHERE number = :number",
            **link.row(),
            marks=marks,
        )
        former = link


def reclose(connection: Connection) -> None:
    """Make every close anew as well: digest, count and head."""
    for close in connection.execute(text("SELECT * FROM closes ORDER BY number")).all():
        lines = connection.scalars(
            text(
                f"SELECT {canonical.LINE} FROM journals j WHERE j.created_at >= :starts"
                f" AND j.created_at < :ends ORDER BY {canonical.ORDER}"
            ),
            {"starts": close.starts_at, "ends": close.ends_at},
        )
        digest = canonical.Digest()
        for line in lines:
            digest.add(line)
        run(
            connection,
            "UPDATE closes SET digest = :digest, journals = :journals, seal_hash ="
            " (SELECT hash FROM seals WHERE number = seal_number) WHERE number = :number",
            digest=digest.value(),
            journals=digest.lines,
            number=close.number,
        )
        run(
            connection,
            f"UPDATE audit_log SET after = (SELECT CAST({close_service.JSON} AS jsonb)"
            " FROM closes c WHERE c.period = object_id)"
            " WHERE action = 'period.closed' AND object_id = :period",
            period=close.period,
        )
