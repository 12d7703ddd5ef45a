"""The command that writes settlement statements."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from standart.cli.base import (
    OPERATOR,
    Failure,
    ServiceCommand,
    database,
    moment,
    named_user,
    real_place,
)
from standart.db import autocommit
from standart.documents.formats import FORMATS, Format, file_name
from standart.documents.words import Lang
from standart.errors import InvalidInput
from standart.models import AccountBalance, Role, User
from standart.services import statement_service, statement_stream, user_service
from standart.services.statement_service import Statement
from standart.services.statement_span import Asked

_LONGEST_NAME = 40


@click.command(cls=ServiceCommand)
@click.argument("name", required=False)
@click.option("--all", "everybody", is_flag=True, help="One file for each merchant and currency.")
@click.option("--from", "start", help="RFC 3339, such as 2026-11-01T00:00:00Z.")
@click.option("--to", "end", help="RFC 3339, not included; by default now.")
@click.option("--period", help="today, yesterday, 7d, month (default), last_month, 2026-11, ...")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="csv")
@click.option("--currency", help="Such as RUB or USDT; by default the merchant's own.")
@click.option("--lang", type=click.Choice(["ru", "en"]), help="Of the words in it.")
@click.option("--output", type=click.Path(path_type=Path), help="A file, or a folder for --all.")
def statement(
    name: str | None,
    everybody: bool,
    start: str | None,
    end: str | None,
    form: str,
    output: Path | None,
    **more: str | None,
) -> None:
    """Write the settlement statement of the merchant NAME, or with --all those of everybody.

    Half-open from --from to --to, or a period by its name in the merchant's time zone. With
    --all each merchant gets a file in the folder --output for every currency that it had
    movements or a balance in; all of them are there in the end, or none is.
    """
    if everybody is (name is not None):
        raise InvalidInput.of("NAME", "must be given, or --all alone instead of it")
    if everybody and output is None:
        raise InvalidInput.of("--output", "must be a folder where --all is given")
    asked = Asked(
        None if start is None else moment(start, "--from"),
        None if end is None else moment(end, "--to"),
        more["period"],
    )
    with database(require_secrets=False) as base, autocommit(base.engine) as connection:
        chosen = FORMATS[form]
        lang = chosen.language(more["lang"], base.settings.default_locale)
        writer = _Writer(connection, asked, chosen, lang)
        try:
            if name is not None:
                writer.write_one(name, more["currency"], output)
            elif output is not None:
                writer.write_all(more["currency"], output)
        except OSError as error:
            raise Failure(f"cannot write: {error.strerror or error}") from None


class _Writer:
    """Writes the statements of one span in one format."""

    def __init__(self, connection: Connection, asked: Asked, form: Format, lang: Lang) -> None:
        self._connection, self._asked, self._form, self._lang = connection, asked, form, lang
        # Everybody's statements end at the same moment.
        self._present = statement_service.settled(connection)

    def write_one(self, name: str, currency: str | None, output: Path | None) -> None:
        """Write one statement, to standard output where no file is named."""
        with Session(self._connection) as session:
            user = named_user(session, name)
        opened = self._open(user, currency)
        if output is None:
            stream = sys.stdout.buffer
            for piece in self._pieces(opened):
                stream.write(piece)
            stream.flush()
            return
        named = output / file_name(opened.head, self._form) if output.is_dir() else output
        place, replaceable = real_place(named)
        if not replaceable:
            self._write(opened, place)
            return
        with TemporaryDirectory(prefix=".statement-", dir=place.parent) as folder:
            self._write(opened, Path(folder) / place.name).replace(place)
        click.echo(f"wrote {named}")

    def write_all(self, currency: str | None, output: Path) -> None:
        """Write a file for each merchant and currency, all of them or none."""
        output.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".statements-", dir=output) as folder:
            files = list(self._write_each(currency, Path(folder)))
            for file in files:
                if (output / file.name).is_dir():
                    raise Failure(f"cannot write: {output / file.name} is a folder")
            for file in files:
                file.replace(output / file.name)
        click.echo(f"wrote {len(files)} statements to {output}")

    def _write_each(self, currency: str | None, folder: Path) -> Iterator[Path]:
        with Session(self._connection) as session:
            merchants = [
                each for each in user_service.list_users(session) if each.role is not Role.ADMIN
            ]
        for user in merchants:
            for code in [currency] if currency else self._currencies(user):
                opened = self._open(user, code)
                written = self._write(opened, folder / _named(user, opened, self._form))
                head, foot = opened.head, opened.foot()
                if foot.totals.count or head.available or head.reserved:
                    yield written
                else:
                    written.unlink()

    def _currencies(self, user: User) -> list[str]:
        """Return the currencies in which a merchant ever had an entry."""
        known = select(AccountBalance.currency).where(AccountBalance.user_id == user.id)
        return sorted(set(self._connection.scalars(known)))

    def _open(self, user: User, currency: str | None) -> Statement:
        return statement_service.open_statement(
            self._connection,
            OPERATOR,
            user_id=user.id,
            currency=currency,
            asked=self._asked,
            present=self._present,
        )

    def _write(self, opened: Statement, file: Path) -> Path:
        with file.open("wb") as written:
            for piece in self._pieces(opened):
                written.write(piece)
        return file

    def _pieces(self, opened: Statement) -> Iterator[bytes]:
        return statement_stream.document(
            opened, self._form, self._lang, lambda work: work(self._connection)
        )


def _named(user: User, opened: Statement, form: Format) -> str:
    """Return a name that tells people whose file it is; the number makes it the only one."""
    shown = re.sub(r"[^\w.-]+", "-", user.name)[:_LONGEST_NAME].strip("-.")
    return f"{shown}-{file_name(opened.head, form)}".lstrip("-")
