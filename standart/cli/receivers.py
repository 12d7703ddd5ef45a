"""`standart check-receiver`: what a receiver of webhooks does wrong, in plain words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import click

from standart import clock
from standart.cli.base import OPERATOR, Failure, ServiceCommand, database, webhook_rules
from standart.config import Settings
from standart.errors import InvalidInput
from standart.services import endpoint_checkup
from standart.services.webhook_work import Receiver
from standart.webhooks import checkup, signing
from standart.webhooks.addresses import UrlRules, parse_url
from standart.webhooks.checkup import Step


@click.command("check-receiver", cls=ServiceCommand)
@click.argument("receiver", metavar="URL|ENDPOINT_ID")
@click.option("--secret", help="What the receiver at URL verifies by: whsec_…")
@click.option("--secret-stdin", is_flag=True, help="Read that secret from standard input.")
@click.option(
    "--type",
    default=checkup.TEST_TYPE,
    show_default=True,
    help="The event type of the messages; the receiver may act on it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_receiver(
    receiver: str, secret: str | None, secret_stdin: bool, type: str, as_json: bool
) -> None:
    """Send test messages to a receiver, and say what it does wrong with them.

    Good, doubled, out of order, forged, altered, unsigned and stale ones, all marked as tests.
    An endpoint gets them with its own secret and headers. Exit 0 when all is well, else 1.
    """
    endpoint_id = _uuid(receiver)
    given = sys.stdin.readline().strip() if secret_stdin else secret
    if endpoint_id is not None:
        if given is not None:
            raise InvalidInput.of("--secret", "is for a URL; an endpoint has its own")
        with database() as base, base.transaction() as session:
            target = endpoint_checkup.prepare(session, OPERATOR, base.keyring, endpoint_id)
            rules = webhook_rules(base.settings)
    else:
        rules = webhook_rules(Settings.from_env(require_secrets=False))
        url = parse_url(receiver, rules, field="URL").url
        target = Receiver(url, (_checked_secret(given),), {})
    _report(_steps(target, rules, type), as_json=as_json)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _checked_secret(secret: str | None) -> str:
    if secret is None:
        raise InvalidInput.of(
            "--secret", "or --secret-stdin must say what the receiver verifies by"
        )
    try:
        signing.sign([secret], "", 0, b"")
    except ValueError:
        raise InvalidInput.of("--secret", "must be whsec_ followed by base64") from None
    return secret


def _steps(target: Receiver, rules: UrlRules, type: str) -> Iterator[Step]:
    return checkup.check(
        target.url,
        target.secrets,
        rules,
        new_id=clock.new_id,
        timestamp=clock.timestamp(),
        extra_headers=target.extra_headers,
        type=type,
    )


def _report(steps: Iterator[Step], *, as_json: bool) -> None:
    """Print each step as it comes, or all at the end.

    Raises:
        Failure: something is wrong with the receiver.
    """
    done: list[Step] = []
    for step in steps:
        done.append(step)
        if not as_json:
            _show(step)
    wrong = sum(len(step.findings) for step in done)
    if as_json:
        click.echo(json.dumps({"ok": not wrong, "steps": [_json(step) for step in done]}))
    if wrong:
        raise Failure(f"{wrong} thing{'s' if wrong > 1 else ''} to mend")
    if not as_json:
        click.echo("the receiver does all of it right")


def _show(step: Step) -> None:
    attempt = step.attempt
    answer = attempt.outcome if attempt.status_code is None else f"HTTP {attempt.status_code}"
    verdict = "wrong" if step.findings else "ok"
    click.echo(f"{step.scenario:<12} {answer:<9} {attempt.duration_ms:>6} ms  {verdict}")
    for finding in step.findings:
        click.echo(f"    {finding.code}: {finding.message}")


def _json(step: Step) -> dict[str, Any]:
    return {
        "scenario": step.scenario,
        "outcome": step.attempt.outcome,
        "status_code": step.attempt.status_code,
        "duration_ms": step.attempt.duration_ms,
        "findings": [{"code": each.code, "message": each.message} for each in step.findings],
    }
