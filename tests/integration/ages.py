"""Letting everything that was written grow old without waiting for it."""

from __future__ import annotations

from sqlalchemy import Engine, text

_MOMENTS = {
    "users": ("created_at",),
    "transactions": ("created_at", "expires_at", "finished_at"),
    "payouts": ("created_at", "approved_at", "finished_at"),
    "refunds": ("created_at",),
    "adjustments": ("created_at", "finished_at"),
    "events": ("created_at",),
    "deliveries": ("created_at", "delivered_at"),
    "attempts": ("created_at",),
}


def grow_old(superuser: Engine, days: int) -> None:
    """Move the moments of all that there is ``days`` into the past."""
    with superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table, columns in _MOMENTS.items():
            moved = ", ".join(f"{name} = {name} - make_interval(days => :days)" for name in columns)
            connection.execute(text(f"UPDATE {table} SET {moved}"), {"days": days})
