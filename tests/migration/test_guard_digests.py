"""The digests that the proof holds the guards against: those of each revision, no others."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from alembic import command
from sqlalchemy import Engine

from standart import migrations
from standart.services.proof import guards

FILE = Path(guards.__file__).with_name("guards.csv")


def test_the_digests_are_those_that_each_migration_makes(fresh: Engine) -> None:
    there: dict[str, dict[str, str]] = {}
    for revision in sorted(migrations.revisions()):
        with fresh.begin() as connection:
            command.upgrade(migrations.config_for(connection), revision)
            there[revision] = {row.guard: row.digest for row in connection.execute(guards.THERE)}
    if "RENEW_GUARDS" in os.environ:
        _renew(there)

    for revision, digests in there.items():
        assert guards.expected_at(revision) == digests, "see how to renew them in guards.py"


def _renew(there: dict[str, dict[str, str]]) -> None:
    rows = []
    before: dict[str, str] = {}
    for revision, digests in there.items():
        rows += [
            (guard, revision, digests.get(guard, ""))
            for guard in before | digests
            if before.get(guard) != digests.get(guard)
        ]
        before = digests
    with FILE.open("w", encoding="utf-8", newline="") as file:
        listed = csv.writer(file, lineterminator="\n")
        listed.writerows([("guard", "revision", "digest"), *sorted(rows)])
    guards.known.cache_clear()
