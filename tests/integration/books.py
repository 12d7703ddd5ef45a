"""Reading the books as ``standart verify`` does: all of one moment."""

from __future__ import annotations

from sqlalchemy import Engine

from standart.services import verify_service
from standart.services.findings import Finding


def findings(engine: Engine) -> list[Finding]:
    """Every broken invariant, from one REPEATABLE READ snapshot; empty when all is right."""
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as connection:
        return list(verify_service.verify(connection))
