"""The command line. Commands are loaded when they are called: start-up time counts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup, FlaskGroup

COMMANDS = {
    "up": "standart.cli.up:up",
    "serve": "standart.processes:serve",
    "worker": "standart.processes:worker",
    "beat": "standart.processes:beat",
    "migrate": "standart.cli.operations:migrate",
    "create-admin": "standart.cli.users:create_admin",
    "create-user": "standart.cli.users:create_user",
    "create-api-key": "standart.cli.users:create_api_key",
    "revoke-api-key": "standart.cli.users:revoke_api_key",
    "list-users": "standart.cli.users:list_users",
    "reset-second-factor": "standart.cli.users:reset_second_factor",
    "update-user": "standart.cli.users:update_user",
    "set-limit": "standart.cli.limits:set_limit",
    "list-limits": "standart.cli.limits:list_limits",
    "set-fee-schedule": "standart.cli.fees:set_fee_schedule",
    "list-fee-schedules": "standart.cli.fees:list_fee_schedules",
    "import-balances": "standart.cli.balances:import_balances",
    "reconcile": "standart.cli.reconciliations:reconcile",
    "list-reconciliations": "standart.cli.reconciliations:list_reconciliations",
    "show-reconciliation": "standart.cli.reconciliations:show_reconciliation",
    "rotate-encryption-key": "standart.cli.keys:rotate_encryption_key",
    "rotate-receipt-key": "standart.cli.receipts:rotate_receipt_key",
    "verify-receipt": "standart.cli.receipts:verify_receipt",
    "expire": "standart.cli.operations:expire",
    "deliver": "standart.processes:deliver",
    "purge": "standart.cli.operations:purge",
    "list-endpoints": "standart.cli.endpoints:list_endpoints",
    "create-endpoint": "standart.cli.endpoints:create_endpoint",
    "update-endpoint": "standart.cli.endpoints:update_endpoint",
    "delete-endpoint": "standart.cli.endpoints:delete_endpoint",
    "rotate-secret": "standart.cli.endpoints:rotate_secret",
    "ping": "standart.cli.endpoints:ping",
    "list-events": "standart.cli.events:list_events",
    "show-event": "standart.cli.events:show_event",
    "replay": "standart.cli.events:replay",
    "replay-endpoint": "standart.cli.events:replay_endpoint",
    "list-replays": "standart.cli.events:list_replays",
    "check-receiver": "standart.cli.receivers:check_receiver",
    "listen": "standart.cli.listen:listen",
    "seal": "standart.cli.proof:seal",
    "close": "standart.cli.proof:close",
    "list-closes": "standart.cli.proof:list_closes",
    "statement": "standart.cli.statements:statement",
    "verify": "standart.cli.verify:verify",
    "doctor": "standart.cli.doctor:doctor",
    "settings": "standart.cli.operations:settings",
    "shell": "flask.cli:shell_command",
    "routes": "flask.cli:routes_command",
}


def load(name: str) -> click.Command | None:
    """Return the command called ``name``, importing it now; ``None`` when there is none."""
    place = COMMANDS.get(name)
    if place is None:
        return None
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


class CommandLine(FlaskGroup):
    """Flask's group with our commands; only those that need the app make it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command called ``name``."""
        return load(name)


class AppCommands(AppGroup):
    """The same commands for `flask`, which brings its own `shell` and `routes`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        return [name for name, place in COMMANDS.items() if not place.startswith("flask.")]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command called ``name``."""
        return load(name)


def init_app(app: Flask) -> None:
    """Make `flask create-admin` and the others work for ``app``."""
    app.cli = AppCommands(app.name)


def command_line(create_app: Callable[[], Flask]) -> CommandLine:
    """Return the `standart` command over ``create_app``; reads `.env` as Flask does."""
    group = CommandLine(
        add_default_commands=False,
        add_version_option=False,
        create_app=create_app,
        set_debug_flag=False,
        help="Standart, the self-hosted payment-transaction service.",
        params=[_version_option()],
        # Options are read from the command line alone; settings have variables of their own.
        context_settings={"auto_envvar_prefix": None, "help_option_names": ["-h", "--help"]},
    )
    # The app is ours and never in Flask's debug mode: its debugger runs code for visitors.
    group.params = [option for option in group.params if option.name not in ("app", "debug")]
    return group


def _version_option() -> click.Option:
    def show(context: click.Context, option: click.Parameter, wanted: Any) -> None:
        if wanted and not context.resilient_parsing:
            click.echo(f"standart {metadata.version('standart')}")
            context.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version.",
    )
