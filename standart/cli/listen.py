"""`standart listen`: events as they happen, in the terminal and on to a local server."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network
from types import FrameType
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import click
import msgspec
from sqlalchemy.exc import OperationalError

from standart import clock
from standart.cli.base import OPERATOR, Failure, ServiceCommand, database, named_user
from standart.cli.event_stream import NOW, EventStream, StreamedEvent, StreamRefused
from standart.errors import InvalidInput
from standart.models import Scope
from standart.services import key_service
from standart.webhooks import signing
from standart.webhooks.addresses import LOCALHOST, UrlRules, parse_url
from standart.webhooks.sender import Delivery, send_all

KEY_LIFETIME: Final = timedelta(days=1)
"""For how long the key of `--user` is valid, should nobody be left to revoke it."""

_LOOPBACK: Final = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
_ANYWHERE: Final = UrlRules(
    allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")), allow_http=True
)
_TYPE: Final = re.compile(r"\*|[a-z_]+(\.(\*|[a-z_]+))?", re.ASCII)


class _Payload(msgspec.Struct):
    """What is shown of a webhook's body."""

    id: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Forwarder:
    """Sends events on as webhooks, signed by a secret of its own; tries each of them once."""

    url: str
    secret: str
    rules: UrlRules

    @classmethod
    def to(cls, url: str, *, anywhere: bool, secret: str | None = None) -> Forwarder:
        """Make one for ``url``, on this machine's loopback unless it may go ``anywhere``.

        Raises:
            InvalidInput: the URL or the secret is not right, or leads elsewhere.
        """
        rules = _ANYWHERE if anywhere else _LOOPBACK
        target = parse_url(url, rules, field="--forward-to")
        local = target.host == "localhost" or (
            target.address is not None
            and any(target.address in network for network in _LOOPBACK.allowed_networks)
        )
        if not (local or anywhere):
            raise InvalidInput.of(
                "--forward-to", f"must be on {LOCALHOST[0]} or localhost; --anywhere allows others"
            )
        used = secret or signing.new_secret()
        try:
            signing.sign([used], "", 0, b"")
        except ValueError:
            raise InvalidInput.of("--secret", "must be whsec_ followed by base64") from None
        return cls(target.url, used, rules)

    def send(self, event: StreamedEvent) -> str:
        """Send one event on and return what came of it, in words."""
        body = bytes(event.payload)
        headers = signing.headers([self.secret], event.id, clock.timestamp(), body)
        delivery = Delivery(url=self.url, headers=headers, body=body)
        attempt = send_all([delivery], self.rules)[0]
        if attempt.status_code is None:
            return f"{attempt.outcome}: {attempt.error}"
        return f"HTTP {attempt.status_code} in {attempt.duration_ms} ms"


@click.command(cls=ServiceCommand)
@click.option("--forward-to", "forward_to", help="A server of yours that gets each as a webhook.")
@click.option("--anywhere", is_flag=True, help="Let --forward-to leave this machine.")
@click.option("--secret", help="What to sign with, whsec_…; by default a new one each time.")
@click.option(
    "--url",
    "base",
    default="http://127.0.0.1:8000",
    show_default=True,
    help="Where Standart is.",
)
@click.option(
    "--key",
    envvar="STANDART_API_KEY",
    show_envvar=True,
    help="An API key with the scope read.",
)
@click.option("--user", "user_name", help="Instead of a key, on the server itself: whose events.")
@click.option("--user-id", type=click.UUID, help="Whose events, for an admin's key.")
@click.option("--events", "types", help="Types such as transaction.*,payout.paid; by default all.")
@click.option("--since", help="What an earlier run ended with, or `start`; by default now.")
@click.option("--json", "as_json", is_flag=True, help="Print each event whole, one on a line.")
def listen(
    forward_to: str | None,
    anywhere: bool,
    secret: str | None,
    base: str,
    key: str | None,
    user_name: str | None,
    user_id: UUID | None,
    types: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Show events as they happen, and forward them, signed, to a local server.

    Needs no open port: it asks the server, over and over. Ctrl-C ends it.
    """
    wanted = _types(types)
    _check_base(base)
    if is_readable_by_others(base):
        _note(f"warning: {base} is plain http, so others on the way can read the key")
    forwarder = (
        None if forward_to is None else Forwarder.to(forward_to, anywhere=anywhere, secret=secret)
    )
    # Whoever ends it may do so at any moment, also while it takes leave; none is a failure.
    with contextlib.suppress(KeyboardInterrupt), _interruptible(), _key(key, user_name) as used:
        stream = EventStream(base, used, cursor=since or NOW, tell=_note, user_id=user_id)
        try:
            stream.start()
            _note(f"listening to {base}; Ctrl-C ends it")
            if forwarder is not None:
                _note(f"forwarding to {forwarder.url}, signed with {forwarder.secret}")
            for page in stream.pages():
                for event in page:
                    if matches(event.type, wanted):
                        _tell(event, forwarder, as_json=as_json)
        except StreamRefused as refused:
            raise Failure(str(refused)) from None
        except KeyboardInterrupt:
            _note(f"ended; --since {stream.cursor} goes on from here")


def matches(type: str, wanted: Sequence[str]) -> bool:
    """Say whether an event of this type is among the types, prefixes (``payout.*``) or ``*``."""
    return any(each in (type, f"{type.partition('.')[0]}.*", "*") for each in wanted)


def _types(text: str | None) -> list[str]:
    wanted = ["*"] if text is None else [each.strip() for each in text.split(",")]
    if not all(_TYPE.fullmatch(each) for each in wanted):
        raise InvalidInput.of("--events", "must be types such as transaction.*,payout.paid")
    return wanted


def _check_base(base: str) -> None:
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput.of("--url", "must be a URL such as https://pay.example")


def is_readable_by_others(base: str) -> bool:
    """Say whether a key that is sent to ``base`` leaves this machine unencrypted."""
    parts = urlsplit(base)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


@contextmanager
def _key(key: str | None, user_name: str | None) -> Iterator[str]:
    """Hold the given key, or one that lives for this run only."""
    if (key is None) == (user_name is None):
        raise InvalidInput.of("--key", "or --user must be given, and not both")
    if user_name is None:
        assert key is not None
        key_service.digest_of(key)
        yield key
        return
    with database(require_secrets=False) as base:
        with base.transaction() as session:
            user = named_user(session, user_name)
            row, plain = key_service.create_key(
                session, OPERATOR, user, scopes=[Scope.READ], lifetime=KEY_LIFETIME
            )
        try:
            yield plain
        finally:
            try:
                with base.transaction() as session:
                    key_service.revoke_key(session, OPERATOR, row.prefix)
            except OperationalError:
                # The database went first, as when `standart up` was ended before this.
                _note("the key of this run could not be revoked; it ends within a day")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(event: StreamedEvent, forwarder: Forwarder | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(event.line)
    else:
        about = msgspec.json.decode(event.payload, type=_Payload)
        click.echo(
            f"{event.created_at}  {event.type:<22} {about.id or '-'}  {about.status or '-'}"
            f"  {event.id}"
        )
    if forwarder is not None:
        click.echo(f"    → {forwarder.send(event)}", err=as_json)


def _note(message: str) -> None:
    click.echo(message, err=True)
