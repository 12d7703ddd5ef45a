"""Commands about receipts: check one offline, and a new key to sign with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, Final

import click

from standart.cli.base import OPERATOR, Failure, ServiceCommand, database
from standart.db import autocommit
from standart.receipts.chain import LONGEST_LINE, BadSeals
from standart.receipts.document import LONGEST
from standart.receipts.keys import BadKeys, PublicKey, read_key, read_keys
from standart.receipts.verification import Result, Verdict, verify
from standart.services import signing_key_service

_LONGEST_KEYS: Final = 1024 * 1024

_NO_KEYS: Final = (
    "name the key that you trust: --keys FILE, a saved answer of GET /receipt_keys, or "
    "--public-key BASE64; a key that came with the receipt would prove nothing"
)


@click.command("verify-receipt", cls=ServiceCommand)
@click.argument("file", type=click.File("rb"))
@click.option("--keys", "keys_file", type=click.File("rb"), help="A saved GET /receipt_keys.")
@click.option("--public-key", help="One key that you trust, as base64.")
@click.option("--seals", type=click.File("rb"), help="A file of `standart seal --export`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify_receipt(
    file: BinaryIO,
    keys_file: BinaryIO | None,
    public_key: str | None,
    seals: BinaryIO | None,
    as_json: bool,
) -> None:
    """Check a receipt that was saved from GET /receipt; FILE may be - for standard input.

    Works offline: no database, no settings, only the file and a key that you trust. Exit 0
    when every check is right, 1 when one has failed, 2 when a file cannot be used at all.
    """
    known = _trusted(keys_file, public_key)
    try:
        lines = None if seals is None else _lines(seals)
        verdict = verify(file.read(LONGEST + 1), known, seals=lines)
    except BadSeals as error:
        raise Failure(f"--seals: {error}", 2) from None
    except OSError as error:
        raise Failure(f"a file cannot be read: {error.strerror}", 2) from None
    _show(verdict, as_json=as_json)
    if not verdict.is_right:
        failed = [check.name for check in verdict.checks if check.result is Result.FAILED]
        raise Failure(f"the receipt is not right: {', '.join(failed)}")


def _trusted(keys_file: BinaryIO | None, public_key: str | None) -> dict[str, PublicKey]:
    """Return the keys that the caller trusts.

    Raises:
        Failure: there are none, or what was given is no key.
    """
    known: dict[str, PublicKey] = {}
    if keys_file is None and public_key is None:
        raise Failure(_NO_KEYS, 2)
    try:
        if public_key is not None:
            key = read_key(public_key)
            known[key.id] = key
        if keys_file is not None:
            known |= _read_keys(keys_file)
    except BadKeys as error:
        place = "--keys" if known or public_key is None else "--public-key"
        raise Failure(f"{place}: {error}", 2) from None
    except OSError as error:
        raise Failure(f"--keys: cannot be read: {error.strerror}", 2) from None
    return known


def _read_keys(file: BinaryIO) -> dict[str, PublicKey]:
    data = file.read(_LONGEST_KEYS + 1)
    if len(data) > _LONGEST_KEYS:
        raise BadKeys(f"longer than {_LONGEST_KEYS} bytes")
    return dict(read_keys(data))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; of one that is too long no more than tells that."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line


def _show(verdict: Verdict, *, as_json: bool) -> None:
    if not as_json:
        for check in verdict.checks:
            click.echo(f"{check.result.value:<8} {check.name:<15} {check.detail}")
        if verdict.is_right:
            click.echo("the receipt is right")
        return
    envelope = verdict.envelope
    found = {
        "valid": verdict.is_right,
        "key_id": envelope.key_id if envelope else None,
        "transaction_id": envelope.receipt.transaction.id if envelope else None,
        "checks": [
            {"name": check.name, "result": check.result.value, "detail": check.detail}
            for check in verdict.checks
        ],
    }
    click.echo(json.dumps(found))


@click.command("rotate-receipt-key", cls=ServiceCommand)
def rotate_receipt_key() -> None:
    """Sign receipts with a new key from now on; what older ones signed stays right.

    Their public halves are served for ever, their private ones are erased.
    """
    with database() as base, autocommit(base.engine) as connection:
        fresh, former = signing_key_service.rotate(connection, OPERATOR, base.keyring)
    click.echo(f"receipts are signed with {fresh}")
    if former is not None:
        click.echo(f"{former} has retired; its public key stays in GET /receipt_keys")
