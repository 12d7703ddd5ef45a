"""The command that proves the books, and reads the heads of the chain that were kept outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from standart.cli.base import Failure, ServiceCommand, database
from standart.errors import InvalidInput
from standart.services import chain, verify_service
from standart.services.chain_check import Expected

LONGEST_LINE: Final = 64 * 1024
"""Bytes; a seal's line has some 400."""


class _Line(msgspec.Struct):
    number: int
    hash: str


@click.command(cls=ServiceCommand)
@click.option(
    "--expect-head",
    "heads",
    multiple=True,
    metavar="[NUMBER:]HASH",
    help="A head of the chain that was kept outside; may be repeated.",
)
@click.option(
    "--expect-export",
    "exports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of `standart seal --export`, or the one that seals are anchored in.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(heads: Sequence[str], exports: Sequence[Path], *, as_json: bool) -> None:
    """Prove the books in one snapshot and report on every invariant, exit 1 if one is broken.

    The chain of seals is compared with what was kept outside the database as well.
    """
    known = [_head(each) for each in heads]
    # Read once before, so that a broken file costs nobody the time of a proof.
    for path in exports:
        for _ in _exported(path):
            pass
    with database(require_secrets=False) as base, base.engine.connect() as connection:
        snapshot = connection.execution_options(isolation_level="REPEATABLE READ")
        expected = _all_of(known, exports)
        report = verify_service.prove(snapshot, expected)
    if as_json:
        click.echo(json.dumps(report.wire(), ensure_ascii=False))
    else:
        for line in report.lines():
            click.echo(line)
    if report.broken:
        raise Failure(f"{report.broken:,} broken: the books are not right")
    if not as_json:
        click.echo("the books are right")


def _head(written: str) -> Expected:
    try:
        return chain.parse_anchor(written)
    except InvalidInput:
        raise InvalidInput.of("--expect-head", "must be HASH or NUMBER:HASH") from None


def _all_of(known: Sequence[Expected], exports: Sequence[Path]) -> Iterator[Expected]:
    yield from known
    for path in exports:
        yield from _exported(path)


def _exported(path: Path) -> Iterator[Expected]:
    """Yield number and hash of each line of a file of seals, a line at a time.

    Raises:
        Failure: names the line that is none.
    """
    decoder = msgspec.json.Decoder(_Line)
    number = 0
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise _wrong(path, number, "is too long")
            if line.strip():
                yield _expected(decoder, line, path, number)


def _expected(decoder: Any, line: bytes, path: Path, number: int) -> Expected:
    try:
        found = decoder.decode(line)
        place, hashed = chain.parse_anchor(f"{found.number}:{found.hash}")
    except (msgspec.DecodeError, InvalidInput, ValueError, RecursionError):
        raise _wrong(path, number, "is no seal: a number and a hash are needed") from None
    return place, hashed


def _wrong(path: Path, number: int, what: str) -> Failure:
    return Failure(f"{path}: line {number} {what}", 2)
