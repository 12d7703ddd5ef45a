"""The gauges of the background work: what waits, how old it is, when each part was last seen."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from standart.observability import Gauge, Reading
from standart.services import (
    backlog_service,
    heartbeat_service,
    retention_service,
    seal_service,
    webhook_service,
)

GAUGES: Final = {
    "standart_webhook_lag_seconds": Gauge(
        "Age of the oldest webhook that is due and waits for us, not for its receiver."
    ),
    "standart_webhook_due": Gauge("Webhooks that are due; at most 100000 are counted.", "lane"),
    "standart_webhook_oldest_due_seconds": Gauge("Age of the oldest webhook that is due.", "lane"),
    "standart_webhook_in_flight": Gauge("Webhooks that a worker holds.", "lane"),
    "standart_webhook_dead": Gauge("Webhooks that are dead; at most 100000 are counted."),
    "standart_webhook_endpoints_failing": Gauge("Endpoints that are only probed."),
    "standart_webhook_endpoints_disabled": Gauge("Endpoints that are not called.", "reason"),
    "standart_event_retention_lag_seconds": Gauge(
        "For how long old events are kept beyond the setting."
    ),
    "standart_seal_lag_seconds": Gauge("Age of the oldest journal that has no seal."),
    "standart_sweep_age_seconds": Gauge("Seconds since the last expiry sweep."),
    "standart_delivery_age_seconds": Gauge("Seconds since the last webhook sweep."),
    "standart_purge_age_seconds": Gauge("Seconds since the last purge."),
}

_PARTS: Final = ("sweep", "delivery", "purge")


def read(connection: Connection, retention_days: int) -> Reading:
    """Return the values of all gauges; a part that was never seen has no age."""
    backlog = backlog_service.read(connection)
    ages = heartbeat_service.ages(connection)
    kept = (
        {
            "standart_event_retention_lag_seconds": retention_service.lag_seconds(
                connection, days=retention_days
            )
        }
        if retention_days
        else {}
    )
    return {
        "standart_seal_lag_seconds": seal_service.lag_seconds(connection),
        "standart_webhook_lag_seconds": webhook_service.oldest_due_seconds(connection),
        "standart_webhook_due": backlog.due,
        "standart_webhook_oldest_due_seconds": backlog.oldest,
        "standart_webhook_in_flight": backlog.in_flight,
        "standart_webhook_dead": backlog.dead,
        "standart_webhook_endpoints_failing": backlog.failing,
        "standart_webhook_endpoints_disabled": backlog.disabled,
        **kept,
        **{f"standart_{part}_age_seconds": ages[part] for part in _PARTS if part in ages},
    }
