"""Commands for the limits of merchants."""

from __future__ import annotations

import click
from sqlalchemy.orm import Session

from standart import money
from standart.cli.base import OPERATOR, ServiceCommand, database, named_user, show_table
from standart.errors import InvalidInput
from standart.models import LimitKind, User
from standart.money import MAX_MINOR
from standart.services import limit_service

_NUMBER = click.IntRange(0, MAX_MINOR)
_KINDS = {kind.value.replace("_", "-"): kind for kind in LimitKind}


@click.command("set-limit", cls=ServiceCommand)
@click.argument("name")
@click.option("--transaction-amount", help="The most that one transaction may be.")
@click.option("--daily-amount", help="The most that a UTC day may come to.")
@click.option("--daily-count", type=_NUMBER, help="The most transactions of a UTC day.")
@click.option("--pending-count", type=_NUMBER, help="The most that may be pending at a time.")
@click.option("--currency", help="Of the amounts; by default the user's own.")
@click.option(
    "--remove",
    "removed",
    multiple=True,
    type=click.Choice(list(_KINDS)),
    help="Take a limit away; repeatable.",
)
def set_limit(
    name: str, currency: str | None, removed: tuple[str, ...], **values: str | int | None
) -> None:
    """Limit what may be created for NAME from now on.

    Amounts are limited in each currency by itself, numbers over all currencies. A day counts
    what is pending or confirmed; what was canceled or has expired makes room again.
    """
    wanted = {LimitKind(key): value for key, value in values.items() if value is not None}
    unwanted = [_KINDS[each] for each in removed]
    if not wanted and not unwanted:
        raise InvalidInput.of("set-limit", "needs a limit to set or to --remove")
    with database(require_secrets=False) as base, base.transaction() as session:
        user = named_user(session, name)
        for kind in unwanted:
            limit_service.remove_limit(session, OPERATOR, user, kind, currency)
        for kind, value in wanted.items():
            _set(session, user, kind, value, currency or user.currency)
        rows = _rows(session, user)
    _show(rows)


@click.command("list-limits", cls=ServiceCommand)
@click.argument("name")
def list_limits(name: str) -> None:
    """List the limits of NAME."""
    with database(require_secrets=False) as base, base.transaction() as session:
        rows = _rows(session, named_user(session, name))
    _show(rows)


def _set(session: Session, user: User, kind: LimitKind, value: str | int, currency: str) -> None:
    field = kind.value.replace("_", "-")
    exact = (
        value
        if isinstance(value, int)
        else money.parse_amount(value, currency, field=f"--{field}", may_be_zero=True)
    )
    limit_service.set_limit(session, OPERATOR, user, kind, exact)


def _rows(session: Session, user: User) -> list[tuple[str, ...]]:
    shown = [limit_service.describe(each) for each in limit_service.list_limits(session, user.id)]
    return [(each["limit"], each["value"], each.get("currency", "")) for each in shown]


def _show(rows: list[tuple[str, ...]]) -> None:
    if rows:
        show_table(("LIMIT", "VALUE", "CURRENCY"), rows)
    else:
        click.echo("no limits")
