"""Ways through the audit log and the events of all merchants, newest first.

Each page of the audit log is found by what was done and by whom; an action names the kind of
object too. Events had an order within their merchant only. Those about no transaction are few,
so what is rarely told of is found by its type.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_log_action", "audit_log", ["action", "created_at", "id"])
    op.create_index(
        "ix_audit_log_actor",
        "audit_log",
        [sa.text("lower(actor_name)"), "action", "created_at", "id"],
    )
    op.create_index("ix_events_newest", "events", ["created_at", "id"])
    op.create_index(
        "ix_events_type_newest",
        "events",
        ["type", "created_at", "id"],
        postgresql_where=sa.text("transaction_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_events_type_newest", "events")
    op.drop_index("ix_events_newest", "events")
    op.drop_index("ix_audit_log_actor", "audit_log")
    op.drop_index("ix_audit_log_action", "audit_log")
