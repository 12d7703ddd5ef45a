"""How tests fill endpoints with deliveries, claim them and write down what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import webhook_service
from standart.services.webhook_work import AttemptResult, Claim, ClaimedDelivery, Latency
from tests.builders import TestUser, make_endpoint, make_user

URL = "https://shop.example/hook"
SCHEDULE = (5, 300, 1800)

# Rows of one statement, which has as little time as those of the service.
CHUNK = 2500

_PILE = text(
    """
    WITH event AS (
        INSERT INTO events (user_id, id, endpoint_id, type, sequence, payload)
        SELECT :user_id, gen_random_uuid(), :endpoint_id, 'ping', 1, '{"n":' || n || '}'
        FROM generate_series(1, :count) AS n
        RETURNING user_id, id, endpoint_id
    )
    INSERT INTO deliveries (user_id, id, event_id, endpoint_id)
    SELECT user_id, gen_random_uuid(), id, endpoint_id FROM event
    """
)


def result(outcome: str = "http_500", status: int | None = 500, **fields: Any) -> AttemptResult:
    values = {"excerpt": "", "error": "", "duration_ms": 12} | fields
    return AttemptResult(outcome=outcome, status_code=status, **values)


GOOD = result("delivered", 204)
BAD = result()


@dataclass(frozen=True)
class Mail:
    """The delivery engine's two acts on connections of their own, so that threads may share it."""

    engine: Engine
    keyring: Keyring

    def shop(self, url: str | None = URL) -> TestUser:
        """A merchant; its default endpoint has the merchant's id."""
        return make_user(self.engine, self.keyring, webhook_url=url)

    def endpoint(self, owner: TestUser, *event_types: str, **settings: Any) -> UUID:
        settings.setdefault("url", URL)
        return make_endpoint(self.engine, self.keyring, owner, *event_types, **settings).id

    def endpoints(self, owner: TestUser, count: int, **settings: Any) -> list[UUID]:
        """Many endpoints of one merchant, in the order in which claims come to them."""
        return sorted(self.endpoint(owner, **settings) for _ in range(count))

    def pile(self, owner: TestUser, endpoint_id: UUID | None = None, count: int = 1) -> None:
        """Let ``count`` deliveries be due for an endpoint (the default one, if none is named)."""
        where = {"user_id": owner.id, "endpoint_id": endpoint_id or owner.id}
        for begun in range(0, count, CHUNK):
            self.do(_PILE.text, **where, count=min(CHUNK, count - begun))

    def claim(self, batch: int = 50, after: tuple[UUID, UUID] = webhook_service.BEGINNING) -> Claim:
        with autocommit(self.engine) as connection:
            return webhook_service.claim_due(connection, self.keyring, batch=batch, after=after)

    def claimed(self, batch: int = 50) -> list[ClaimedDelivery]:
        return self.claim(batch).deliveries

    def record(self, *results: tuple[ClaimedDelivery, AttemptResult]) -> list[Latency]:
        with autocommit(self.engine) as connection:
            return webhook_service.record_attempts(connection, results, schedule=SCHEDULE)

    def answer(self, deliveries: Iterable[ClaimedDelivery], outcome: AttemptResult) -> None:
        """Write down the same for all of ``deliveries``."""
        self.record(*[(each, outcome) for each in deliveries])

    def fail(self, endpoint_id: UUID, times: int = webhook_service.PATIENCE) -> None:
        """Let so many attempts in a row have failed, the last pause being over."""
        self.lane(endpoint_id, failures=times, failing_since="now", room=1)

    def lane(self, endpoint_id: UUID, **changes: Any) -> Row[Any]:
        """Change what is remembered of an endpoint, if anything is named; return it all."""
        if changes:
            names = ", ".join(f"{name} = :{name}" for name in changes)
            self.do(
                f"UPDATE webhook_lanes SET {names} WHERE endpoint_id = :id",
                id=endpoint_id,
                **changes,
            )
        return self.one(
            "SELECT failures, room, free_at, failing_since, open_until,"
            " extract(epoch FROM open_until - clock_timestamp())::float AS open_for"
            " FROM webhook_lanes WHERE endpoint_id = :id",
            id=endpoint_id,
        )

    def pass_time(self, seconds: float) -> None:
        """Let everything that waits have waited so much longer."""
        for table, column in (
            ("deliveries", "next_attempt_at"),
            ("webhook_lanes", "open_until"),
            ("webhook_lanes", "free_at"),
            ("webhook_lanes", "failing_since"),
            ("webhook_lanes", "failed_at"),
        ):
            self.do(
                f"UPDATE {table} SET {column} = {column} - make_interval(secs => :seconds)"
                f" WHERE {column} IS NOT NULL",
                seconds=seconds,
            )

    def states(self, endpoint_id: UUID) -> dict[str, int]:
        """How many deliveries of an endpoint are in each state."""
        with autocommit(self.engine) as connection:
            rows = connection.execute(
                text("SELECT state FROM deliveries WHERE endpoint_id = :id"), {"id": endpoint_id}
            )
            return dict(Counter(rows.scalars()))

    def do(self, sql: str, **parameters: Any) -> None:
        with autocommit(self.engine) as connection:
            connection.execute(text(sql), parameters)

    def one(self, sql: str, **parameters: Any) -> Row[Any]:
        with autocommit(self.engine) as connection:
            return connection.execute(text(sql), parameters).one()


def by_endpoint(deliveries: Iterable[ClaimedDelivery]) -> dict[UUID, int]:
    """How many of ``deliveries`` go to each endpoint."""
    return dict(Counter(each.endpoint_id for each in deliveries))


def analyze(connection: Connection) -> None:
    """Let the planner know the tables as they are now; only their owner may."""
    for table in ("deliveries", "events", "webhook_lanes", "webhook_endpoints"):
        connection.execute(text(f"ANALYZE {table}"))
