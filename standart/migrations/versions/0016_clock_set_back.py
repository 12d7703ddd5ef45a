"""Sealing goes on while the server's clock is behind what was sealed before.

After a clock was set back all that is posted is of one and the same moment, that of the clock
of the books, until the server's clock is past it. What is of one moment is in one seal, and one
over the postings of an hour takes longer than a statement may. So the clock of the books may go
on by one microsecond beyond itself, each time something waits for its seal.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FORMER = "greatest(OLD.dated_from, clock_timestamp())"
STEP = "greatest(OLD.dated_from + interval '1 microsecond', clock_timestamp())"


def upgrade() -> None:
    op.execute(_former().replace(FORMER, STEP))


def downgrade() -> None:
    op.execute(_former())


def _former() -> str:
    proof = import_module("standart.migrations.versions.0008_proof")
    function: str = proof.CLOCK
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
