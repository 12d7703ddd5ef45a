"""How often the dashboard renews itself, as each person wants it.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("panel_preferences", sa.Column("refresh_seconds", sa.SmallInteger()))
    op.create_check_constraint(
        op.f("ck_panel_preferences_refresh_known"),
        "panel_preferences",
        "refresh_seconds IN (0, 10, 15, 30, 60)",
    )


def downgrade() -> None:
    op.drop_column("panel_preferences", "refresh_seconds")
