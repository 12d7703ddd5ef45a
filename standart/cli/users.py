"""Commands for users and their API keys."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import Any

import click

from standart import money
from standart.cli.base import (
    OPERATOR,
    Failure,
    ServiceCommand,
    database,
    named_user,
    show_table,
    webhook_rules,
)
from standart.config import Settings
from standart.errors import InvalidInput
from standart.models import Role, Scope, User
from standart.services import key_service, second_factor_service, user_service
from standart.webhooks.addresses import parse_url

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII)

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@click.command("create-admin", cls=ServiceCommand)
@click.argument("name")
@password_option
def create_admin(name: str, password_stdin: bool) -> None:
    """Create an operator who sees and settles everything."""
    password = _password(from_stdin=password_stdin)
    with database() as base, base.transaction() as session:
        user, _ = user_service.create_user(
            session,
            OPERATOR,
            base.keyring,
            name=name,
            role=Role.ADMIN,
            currency=base.settings.default_currency,
            timezone=base.settings.timezone.key,
            password=password,
        )
    click.echo(f"created admin {user.name}")


@click.command("create-user", cls=ServiceCommand)
@click.argument("name")
@click.option("--commission-rate", default="0", show_default=True, help="0 to 1, such as 0.03.")
@click.option("--webhook-url", help="Where the merchant's webhooks go.")
@click.option("--currency", help="Such as RUB or USDT; by default STANDART_DEFAULT_CURRENCY.")
@click.option("--timezone", help="Such as Europe/Moscow; by default STANDART_TIMEZONE.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.REGULAR.value,
    show_default=True,
)
@password_option
@click.option("--json", "as_json", is_flag=True, help="Print the created user as JSON.")
def create_user(
    name: str,
    commission_rate: str,
    webhook_url: str | None,
    currency: str | None,
    timezone: str | None,
    role: str,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Create a merchant (or, by --role, an operator); prints its webhook secret this once.

    Without a password it has no login to the panel.
    """
    password = _password(from_stdin=True) if password_stdin else None
    rate = money.parse_rate(commission_rate)
    with database() as base, base.transaction() as session:
        user, secret = user_service.create_user(
            session,
            OPERATOR,
            base.keyring,
            name=name,
            role=Role(role),
            currency=currency or base.settings.default_currency,
            timezone=timezone or base.settings.timezone.key,
            commission_rate=rate,
            webhook_url=_checked_url(webhook_url, base.settings),
            password=password,
        )
    if as_json:
        shown = {"id": str(user.id), **user_service.describe(user), "webhook_secret": secret}
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        click.echo(f"created user {user.name} {user.id}")
        click.echo(f"webhook secret (shown this once): {secret}")


@click.command("update-user", cls=ServiceCommand)
@click.argument("name")
@click.option("--commission-rate", help="0 to 1, such as 0.03; for later transactions.")
@click.option("--currency", help="What an amount without a currency is in.")
@click.option("--timezone", help="Where the merchant's days begin, such as Europe/Moscow.")
@click.option("--webhook-url", help="Where the merchant's webhooks go; empty: nowhere.")
@click.option(
    "--unique-references/--no-unique-references",
    "unique_reference",
    default=None,
    help="Whether each later reference must be new among the merchant's transactions.",
)
@password_option
def update_user(
    name: str,
    commission_rate: str | None,
    currency: str | None,
    timezone: str | None,
    webhook_url: str | None,
    unique_reference: bool | None,
    password_stdin: bool,
) -> None:
    """Change the given settings of the user NAME; a new password ends its logins.

    With STANDART_FOUR_EYES_ABOVE, an admin whose password another admin has set is no second
    person beside that one. One that is set here, by the admin itself, is its own.
    """
    password = _password(from_stdin=True) if password_stdin else None
    with database(require_secrets=False) as base, base.transaction() as session:
        changes: dict[str, Any] = {}
        if commission_rate is not None:
            changes["commission_rate"] = money.parse_rate(commission_rate)
        if currency is not None:
            changes["currency"] = currency
        if timezone is not None:
            changes["timezone"] = timezone
        if webhook_url is not None:
            changes["webhook_url"] = _checked_url(webhook_url or None, base.settings)
        if unique_reference is not None:
            changes["unique_reference"] = unique_reference
        if password is not None:
            changes["password"] = password
        if not changes:
            raise InvalidInput.of("update-user", "needs something to change")
        user = named_user(session, name)
        user_service.update_user(session, OPERATOR, user, **changes)
    shown = {**user_service.describe(user), "password": "changed"}
    click.echo(f"updated user {user.name}: {json.dumps({key: shown[key] for key in changes})}")


@click.command("reset-second-factor", cls=ServiceCommand)
@click.argument("name")
def reset_second_factor(name: str) -> None:
    """Let the password alone open the login of the user NAME again; its logins end."""
    with database(require_secrets=False) as base, base.transaction() as session:
        user = named_user(session, name)
        had_one = second_factor_service.is_enrolled(session, user.id)
        second_factor_service.remove(session, OPERATOR, user)
    click.echo(
        f"{user.name} has no second factor any more"
        if had_one
        else f"{user.name} had no second factor"
    )


@click.command("create-api-key", cls=ServiceCommand)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[scope.value for scope in (Scope.READ, Scope.WRITE)],
    show_default=True,
    help="What the key may do; repeatable. confirm is for admins and operators only.",
)
@click.option("--expires-in", help="A duration such as 12h, 90d or 52w; by default never.")
def create_api_key(name: str, scopes: tuple[str, ...], expires_in: str | None) -> None:
    """Create an API key for the user NAME; prints the key alone, this once."""
    lifetime = None if expires_in is None else _duration(expires_in)
    with database() as base, base.transaction() as session:
        user = named_user(session, name)
        _, plain = key_service.create_key(
            session,
            OPERATOR,
            user,
            scopes=[Scope(scope) for scope in scopes],
            lifetime=lifetime,
        )
    click.echo(plain)


@click.command("revoke-api-key", cls=ServiceCommand)
@click.argument("prefix")
def revoke_api_key(prefix: str) -> None:
    """Revoke the API key that lists show as PREFIX; it counts with the next request."""
    with database() as base, base.transaction() as session:
        key = key_service.revoke_key(session, OPERATOR, prefix)
    click.echo(f"revoked {key.prefix}…{key.last4}")


@click.command("list-users", cls=ServiceCommand)
def list_users() -> None:
    """List all users."""
    with database(require_secrets=False) as base, base.transaction() as session:
        rows = [_row(user) for user in user_service.list_users(session)]
    show_table(("NAME", "ROLE", "CURRENCY", "RATE", "ACTIVE", "ID"), rows)


def _row(user: User) -> tuple[str, ...]:
    return (
        user.name,
        user.role.value,
        user.currency,
        money.format_rate(user.commission_rate),
        "yes" if user.active else "no",
        str(user.id),
    )


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Failure("there is no terminal to ask for the password; use --password-stdin", 2)
    prompted: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return prompted


def _checked_url(text: str | None, settings: Settings) -> str | None:
    if text is None:
        return None
    return parse_url(text, webhook_rules(settings)).url


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidInput.of("--expires-in", "must be a duration such as 12h, 90d or 52w")
    try:
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise InvalidInput.of("--expires-in", "is too long") from None
