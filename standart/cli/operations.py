"""Commands that run one sweep by hand and show the settings."""

from __future__ import annotations

import click

from standart.cli.base import ServiceCommand, database
from standart.config import Settings
from standart.db import autocommit
from standart.embedded.preparation import migrate as bring_up_to_date
from standart.services import retention_service, transaction_service
from standart.setting_table import describe, unknown_variables

EXPIRY_BATCH = 500


@click.command(cls=ServiceCommand)
def migrate() -> None:
    """Bring the database's schema up to date, under a lock, as the owner role."""
    bring_up_to_date(Settings.from_env(require_secrets=False))
    click.echo("the schema is up to date")


@click.command(cls=ServiceCommand)
def expire() -> None:
    """End overdue transactions now instead of at the next sweep."""
    total = 0
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        while True:
            ended = transaction_service.expire_overdue(connection, batch=EXPIRY_BATCH)
            total += ended
            if ended < EXPIRY_BATCH:
                break
    click.echo(f"expired {total}")


@click.command(cls=ServiceCommand)
def purge() -> None:
    """Purge old events that were delivered now instead of at the next sweep."""
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        days = base.settings.webhook_retention_days
        total = retention_service.purge(connection, days=days)
    click.echo(f"purged {total}")


@click.command(cls=ServiceCommand)
def settings() -> None:
    """Show all settings with value, source and default; secrets are masked."""
    for row in describe():
        default = f" (default {row.default})" if row.default else ""
        click.echo(f"{row.variable}={row.value}")
        click.echo(f"    from {row.source}{default}. {row.help}")
    for name in unknown_variables():
        click.echo(f"unknown: {name} is no setting of this version", err=True)
