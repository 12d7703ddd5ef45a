"""What the commands share: the database, exit codes, errors in one line.

Exit codes: 0 done, 1 refused or impossible, 2 wrong usage, input or settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from standart.config import Settings
from standart.db import make_engine, sqlstate, transaction
from standart.embedded.preparation import unreachable
from standart.encryption import Keyring
from standart.errors import ConfigurationError, DomainError, FieldError, InvalidInput, NotFound
from standart.models import Role, Scope, User
from standart.observability import configure_logging
from standart.services import user_service
from standart.services.access import Actor, Origin
from standart.webhooks.addresses import UrlRules

# Whoever may run commands on the host is an operator; the audit log says from where.
OPERATOR = Actor(None, "command line", Role.ADMIN, frozenset(Scope), Origin("cli"))

UNDEFINED_TABLE = "42P01"

_MOMENT: Any = Annotated[datetime, msgspec.Meta(tz=True)]


class Failure(click.ClickException):
    """One line on standard error and an exit code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        """``message`` names the remedy where there is one."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance too


def _sentence(wrong: FieldError) -> str:
    """Return what is wrong with a field, under its name unless that is a sentence already."""
    whole = wrong.message[:1].isupper()
    return wrong.message if whole else f"{wrong.field} {wrong.message}"


class ServiceCommand(click.Command):
    """A command over services: their errors become one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            Failure: instead of every error of domain, settings or database.
        """
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise Failure(error.detail, 2) from None
        except InvalidInput as error:
            lines = [_sentence(each) for each in error.errors]
            raise Failure("; ".join(lines) or error.detail, 2) from None
        except DomainError as error:
            raise Failure(error.detail) from None
        except UnicodeEncodeError:
            # Bytes of the command line that are no text in the terminal's encoding.
            raise Failure("an argument is not valid text", 2) from None
        except OperationalError as error:
            raise Failure(unreachable(error).detail) from None
        except DBAPIError as error:
            if sqlstate(error) == UNDEFINED_TABLE:
                raise Failure(
                    "the database has no tables yet; run `standart migrate` first"
                ) from None
            raise


def real_place(path: Path) -> tuple[Path, bool]:
    """Return where ``path`` leads, and whether a file may be put into that place.

    What is there and is no file, such as ``/dev/null`` or a pipe, is to be written to: root
    could put a file into its place.
    """
    place = Path(os.path.realpath(path))
    return place, place.is_file() or place.is_dir() or not place.exists()


@dataclass(frozen=True, slots=True)
class Database:
    """The service's database as a command uses it."""

    settings: Settings
    engine: Engine

    @property
    def keyring(self) -> Keyring:
        """The key ring of the settings."""
        return Keyring.parse(self.settings.encryption_keys)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Hold one unit of work; objects stay readable after it."""
        with Session(self.engine, expire_on_commit=False) as session, transaction(session):
            yield session


@contextmanager
def database(*, require_secrets: bool = True) -> Iterator[Database]:
    """Hold the database that the environment or a running `standart up` names.

    Raises:
        ConfigurationError: a setting is missing or makes no sense.
    """
    settings = Settings.from_env(require_secrets=require_secrets)
    configure_logging(settings.log_format, settings.log_level)
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        yield Database(settings, engine)
    finally:
        engine.dispose()


def webhook_rules(settings: Settings) -> UrlRules:
    """Return where webhooks may go, by these settings."""
    return UrlRules(
        allowed_networks=settings.webhook_allowed_networks,
        allow_http=settings.webhook_allow_http,
    )


def named_user(session: Session, name: str) -> User:
    """Return the user of this name.

    Raises:
        NotFound: there is none.
    """
    user = user_service.find_user(session, name)
    if user is None:
        raise NotFound(f"There is no user called {name}.")
    return user


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, as the API answers it."
)


def show_json(*bodies: str, listed: bool = False) -> None:
    """Print what the API would answer on one line: one object, or a list of them."""
    found = [json.loads(body) for body in bodies]
    click.echo(json.dumps({"data": found} if listed else found[0], ensure_ascii=False))


def moment(text: str, option: str) -> datetime:
    """Return the moment that ``text`` writes.

    Raises:
        InvalidInput: names ``option``.
    """
    try:
        found: datetime = msgspec.convert(text, _MOMENT)
    except (msgspec.ValidationError, UnicodeEncodeError):
        problem = "must be RFC 3339 with a zone, such as 2027-01-01T00:00:00Z"
        raise InvalidInput.of(option, problem) from None
    return found


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their header, in columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
