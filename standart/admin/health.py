"""How the background work does: what the dashboard and the tab of webhooks show of it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from standart.extensions import settings
from standart.services import heartbeat_service, webhook_service

# A part that was not seen for so many of its periods is called late.
_PATIENCE: Final = 6
_DELIVERY_PERIOD: Final = 5

Part = dict[str, Any]


def parts(connection: Connection) -> list[Part]:
    """Return the state of each background part: name, seconds, ``ok``, ``late`` or ``never``."""
    ages = heartbeat_service.ages(connection)
    periods = {
        "sweep": settings().expiry_sweep_seconds,
        "delivery": _DELIVERY_PERIOD,
        "seal": settings().seal_seconds,
    }
    # A service that has not begun to seal yet is none that fails to.
    shown = {name: period for name, period in periods.items() if name != "seal" or name in ages}
    seen = [_seen(name, period, ages.get(name)) for name, period in shown.items()]
    return [*seen, _waiting(connection)]


def of_webhooks(connection: Connection) -> list[Part]:
    """Return only what concerns webhooks."""
    age = heartbeat_service.ages(connection).get("delivery")
    return [_seen("delivery", _DELIVERY_PERIOD, age), _waiting(connection)]


def _seen(name: str, period: float, age: float | None) -> Part:
    late = age is not None and age > _PATIENCE * period
    state = "never" if age is None else "late" if late else "ok"
    return {"name": name, "state": state, "seconds": age}


def _waiting(connection: Connection) -> Part:
    waiting = webhook_service.oldest_due_seconds(connection)
    state = "ok" if waiting <= webhook_service.LATE_SECONDS else "late"
    return {"name": "webhooks", "state": state, "seconds": waiting}
