"""The command that brings merchants' balances along from another system."""

from __future__ import annotations

from typing import BinaryIO

import click
from sqlalchemy import text
from sqlalchemy.orm import Session

from standart.cli.base import OPERATOR, Failure, ServiceCommand, database
from standart.db import autocommit
from standart.services import import_service


@click.command("import-balances", cls=ServiceCommand)
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Check everything and keep nothing.")
def import_balances(file: BinaryIO, dry_run: bool) -> None:
    """Post opening balances from the CSV FILE (- for standard input), all or none.

    Its first line is the header user,currency,balance. Each following line names a merchant,
    a currency and what the merchant has in it, such as: demo,RUB,1250.00. A merchant gets
    one opening balance in each currency; a second import of it is refused.
    """
    with database(require_secrets=False) as base:
        with autocommit(base.engine) as connection, Session(connection) as reading:
            try:
                openings = import_service.read_balances(reading, file)
            except OSError as error:
                raise Failure(f"the file cannot be read: {error.strerror}") from None
        with base.transaction() as session:
            # Many lines may take longer than one request may.
            session.execute(text("SET LOCAL statement_timeout = 0"))
            import_service.import_balances(session, OPERATOR, openings)
            if dry_run:
                session.rollback()
    click.echo(f"{'would import' if dry_run else 'imported'} {len(openings)}")
