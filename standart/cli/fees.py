"""Commands for the fees of merchants."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import click

from standart import money
from standart.cli.base import (
    OPERATOR,
    ServiceCommand,
    database,
    moment,
    named_user,
    show_table,
)
from standart.errors import InvalidInput
from standart.services import fee_service
from standart.services.fee_service import ListedSchedule

_SUMS = ("fixed", "minimum", "maximum")


@click.command("set-fee-schedule", cls=ServiceCommand)
@click.argument("name")
@click.option("--currency", help="Such as RUB or USDT; by default the user's own.")
@click.option("--rate", help="0 to 1, such as 0.029.")
@click.option("--fixed", help="What each transaction costs besides, such as 3.00.")
@click.option("--minimum", help="The least that is taken, the amount allowing.")
@click.option("--maximum", help="The most that is taken.")
@click.option("--from", "start", help="RFC 3339, such as 2027-01-01T00:00:00Z; by default now.")
@click.option("--plain", is_flag=True, help="Back to the user's plain commission rate.")
def set_fee_schedule(
    name: str,
    currency: str | None,
    rate: str | None,
    start: str | None,
    plain: bool,
    **sums: str | None,
) -> None:
    """Let transactions of NAME in one currency cost this from a moment on.

    What is planned already stays planned: to replace it, set another with the same start.
    Transactions that exist keep the fee they were created by.
    """
    if plain is (rate is not None) or (plain and any(sums.values())):
        raise InvalidInput.of("--rate", "must be given, or --plain alone instead of a fee")
    exact_rate = None if rate is None else money.parse_rate(rate, field="rate")
    starts_at = None if start is None else moment(start, "--from")
    with database(require_secrets=False) as base, base.transaction() as session:
        user = named_user(session, name)
        schedule = fee_service.set_schedule(
            session,
            OPERATOR,
            user,
            currency=currency or user.currency,
            rate=exact_rate,
            fixed=_minor(sums, "fixed", currency or user.currency) or 0,
            minimum=_minor(sums, "minimum", currency or user.currency) or 0,
            maximum=_minor(sums, "maximum", currency or user.currency),
            starts_at=starts_at,
        )
    click.echo(f"set fee schedule {schedule.id} of {user.name} from {_shown(schedule.starts_at)}")


@click.command("list-fee-schedules", cls=ServiceCommand)
@click.argument("name")
def list_fee_schedules(name: str) -> None:
    """List the fee schedules of NAME; without one the plain commission rate is in force."""
    with database(require_secrets=False) as base, base.transaction() as session:
        user = named_user(session, name)
        listed = fee_service.list_schedules(session, user.id)
    click.echo(f"plain commission rate: {money.format_rate(Decimal(user.commission_rate))}")
    if listed:
        header = ("CURRENCY", "RATE", "FIXED", "MINIMUM", "MAXIMUM", "FROM", "STATE", "ID")
        show_table(header, [_row(each) for each in listed])


def _row(listed: ListedSchedule) -> tuple[str, ...]:
    schedule = listed.schedule
    shown = fee_service.describe(schedule)
    rate = shown["rate"]
    return (
        schedule.currency,
        "plain" if rate is None else rate,
        *("-" if rate is None or shown[name] is None else shown[name] for name in _SUMS),
        _shown(schedule.starts_at),
        listed.state.value.replace("_", " "),
        str(schedule.id),
    )


def _minor(sums: dict[str, str | None], name: str, currency: str) -> int | None:
    text = sums[name]
    if text is None:
        return None
    return money.parse_amount(text, currency, field=name, may_be_zero=True).amount


def _shown(when: datetime) -> str:
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
