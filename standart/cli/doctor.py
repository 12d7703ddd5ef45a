"""`standart doctor`: is everything in place, and what to do where it is not."""

from __future__ import annotations

import click

from standart import checks
from standart.cli.base import Failure, ServiceCommand


@click.command(cls=ServiceCommand)
def doctor() -> None:
    """Check settings, database, migrations, broker, clock and worker; exit 1 on a failure."""
    failed = 0
    for result in checks.examine():
        failed += result.mark == "FAIL"
        remedy = f". {result.remedy}" if result.remedy else ""
        click.echo(f"{result.mark}  {result.name}: {result.detail}{remedy}")
    if failed:
        raise Failure(f"{failed} checks failed")
