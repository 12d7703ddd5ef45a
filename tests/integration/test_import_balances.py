"""Opening balances from a file: all of them or none, and one clear error."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from standart.db import autocommit, transaction
from standart.encryption import Keyring
from standart.errors import InvalidInput, Unavailable
from standart.models import User
from standart.services import import_service, ledger_service, user_service
from standart.services.access import SYSTEM
from standart.services.import_service import Opening
from tests.builders import TestUser, make_user, row_counts
from tests.integration.books import findings
from tests.integration.commands import Run, refused
from tests.integration.concurrency import wait_until
from tests.world import contents

HEADER = b"user,currency,balance\n"


@pytest.fixture
def shop(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="shop")


@pytest.fixture
def cafe(engine: Engine, keyring: Keyring) -> TestUser:
    return make_user(engine, keyring, name="Кафе «Ё», Samara")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], str]:
    def write(content: bytes) -> str:
        path = tmp_path / "balances.csv"
        path.write_bytes(content)
        return str(path)

    return write


def balances(connection: Connection, user: TestUser) -> list[tuple[str, int]]:
    return [row for row in ledger_service.balances(connection, user.actor) if row[1]]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_each_line_becomes_an_opening_balance(
    run: Run,
    engine: Engine,
    connection: Connection,
    shop: TestUser,
    cafe: TestUser,
    file: Callable[[bytes], str],
    mark: bytes,
    end: bytes,
) -> None:
    lines = [
        "user,currency,balance",
        "SHOP,RUB,1250.00",
        '"Кафе «Ё», Samara",JPY,700',
        "",
        "shop,USDT,0.000001",
    ]
    before = row_counts(connection)

    done = run("import-balances", file(mark + end.join(line.encode() for line in lines)))

    assert (done.exit_code, done.stdout) == (0, "imported 3\n")
    assert sorted(balances(connection, shop)) == [("RUB", 125_000), ("USDT", 1)]
    assert balances(connection, cafe) == [("JPY", 700)]
    after = row_counts(connection)
    assert {
        table: after[table] - before[table] for table in after if after[table] > before[table]
    } == {
        **dict.fromkeys(("adjustments", "journals", "events", "audit_log"), 3),
        **dict.fromkeys(("entries", "balance_deltas"), 6),
    }
    assert findings(engine) == []
    event = json.loads(str(connection.scalar(text("SELECT payload FROM events LIMIT 1"))))
    assert (event["type"], event["status"]) == ("balance.adjusted", "posted")
    assert (event["data"]["kind"], event["data"]["direction"]) == ("opening_balance", "credit")
    kept = connection.execute(text("SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")).one()
    assert (kept.action, kept.channel) == ("adjustment.posted", "cli")
    assert kept.after["amount"] == "0.000001"


def test_a_second_import_is_refused(
    run: Run, connection: Connection, shop: TestUser, file: Callable[[bytes], str]
) -> None:
    path = file(HEADER + b"shop,RUB,1.00\n")
    assert run("import-balances", path).exit_code == 0
    before = contents(connection)

    refused(run("import-balances", path), 2, "line 2:", "has an opening balance in RUB already")
    more = file(HEADER + b"shop,USD,5.00\nshop,RUB,2.00\n")
    refused(run("import-balances", more), 2, "line 3:", "RUB already")

    assert contents(connection) == before


def test_a_dry_run_checks_all_and_keeps_nothing(
    run: Run, connection: Connection, shop: TestUser, file: Callable[[bytes], str]
) -> None:
    before = contents(connection)
    good, bad = HEADER + b"shop,RUB,1.00\n", HEADER + b"shop,RUB,1.00\nshop,RUB,1.00\n"

    done = run("import-balances", "--dry-run", file(good))
    assert (done.exit_code, done.stdout) == (0, "would import 1\n")
    refused(run("import-balances", "--dry-run", file(bad)), 2, "line 3:", "as line 2 does")

    assert contents(connection) == before
    assert run("import-balances", file(good)).exit_code == 0


GOOD = b"shop,RUB,1.00\n"
BAD: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("line 1:", "must be the header user,currency,balance")),
    "only a BOM": (b"\xef\xbb\xbf", ("line 1:", "header")),
    "no header": (GOOD, ("line 1:", "header")),
    "header behind an empty line": (b"\nuser;currency;balance\n", ("line 2:", "header")),
    "other order": (b"currency,user,balance\n" + GOOD, ("line 1:", "header")),
    "semicolons": (b"user;currency;balance\nshop;RUB;1\n", ("line 1:", "header")),
    "header alone": (HEADER, ("file has no balances",)),
    "UTF-16": ((HEADER + GOOD).decode().encode("utf-16"), ("line 1: is not UTF-8",)),
    "CP1251": (HEADER + GOOD + "Кафе,RUB,1".encode("cp1251"), ("line 3: is not UTF-8",)),
    "half a character": (HEADER + GOOD + "Кафе".encode()[:-1], ("line 3: is not UTF-8",)),
    "two columns": (HEADER + GOOD + b"shop,USD\n", ("line 3: has 2 columns instead of 3",)),
    "four columns": (HEADER + GOOD + b"shop,USD,1,2\n", ("line 3: has 4 columns instead of 3",)),
    "unknown user": (HEADER + GOOD + b"nobody,RUB,1\n", ("line 3:", "no user called 'nobody'")),
    "no user": (HEADER + b",RUB,1\n", ("line 2:", "no user called ''")),
    "NUL": (HEADER + b"shop\0,RUB,1\n", ("line 2:", "no user called 'shop\\x00'")),
    "space before": (HEADER + b" shop,RUB,1\n", ("line 2:", "no user called ' shop'")),
    "twice": (HEADER + GOOD + b"SHOP,RUB,1.00\n", ("line 3:", "again, as line 2 does")),
    "too many digits": (HEADER + GOOD + b"shop,USD,1.001\n", ("line 3: balance has more than 2",)),
    "digits of JPY": (HEADER + b"shop,JPY,1.0\n", ("line 2: balance has more than 0",)),
    "negative": (HEADER + GOOD + b"shop,USD,-1.00\n", ("line 3: balance must",)),
    "zero": (HEADER + GOOD + b"shop,USD,0.00\n", ("line 3: balance must be greater than 0",)),
    "exponent": (HEADER + GOOD + b"shop,USD,1e3\n", ("line 3: balance must",)),
    "comma": (HEADER + b'shop,USD,"1,00"\n', ("line 2: balance must",)),
    "space": (HEADER + b"shop,USD, 1\n", ("line 2: balance must",)),
    "no balance": (HEADER + b"shop,USD,\n", ("line 2: balance must",)),
    "huge": (HEADER + b"shop,USD," + b"9" * 40 + b"\n", ("line 2: balance",)),
    "NaN": (HEADER + b"shop,USD,NaN\n", ("line 2: balance must",)),
    "other digits": (HEADER + "shop,USD,١\n".encode(), ("line 2: balance must",)),
    "unknown currency": (HEADER + GOOD + b"shop,XXX,1\n", ("line 3:", "currency")),
    "small currency": (HEADER + GOOD + b"shop,rub,1\n", ("line 3:", "currency")),
    "open quote": (HEADER + GOOD + b'"shop,USD,1\n', ("line 3: is not CSV",)),
    "line break in quotes": (HEADER + b'"sh\nop",USD,1\n', ("line 2: is not CSV",)),
    "carriage return": (HEADER + b"shop\rx,USD,1\n", ("line 2: is not CSV",)),
    "CR alone": (b"user,currency,balance\rshop,RUB,1\r", ("line 1:",)),
    "long line": (HEADER + GOOD + b"x" * 3000, ("line 3: is longer than 2048 bytes",)),
    "a million columns": (HEADER + GOOD + b"," * 10**6 + b"\n", ("line 3: is longer than",)),
    "a million columns first": (b"user," * 10**6, ("line 1: is longer than",)),
    "a spreadsheet": (b"PK\x03\x04\x14\0\x06\0\xff\xfe", ("line 1: is not UTF-8",)),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_clear_error_and_nothing_is_kept(
    run: Run,
    connection: Connection,
    shop: TestUser,
    file: Callable[[bytes], str],
    content: bytes,
    words: tuple[str, ...],
) -> None:
    before = contents(connection)
    refused(run("import-balances", file(content)), 2, *words)
    assert contents(connection) == before


def test_files_that_cannot_be_read_are_named(run: Run, tmp_path: Path, shop: TestUser) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        done = run("import-balances", str(path))
        assert done.exit_code == 2
        assert str(path) in done.stderr.replace("\n", "")


def read(engine: Engine, file: BinaryIO) -> list[Opening]:
    with autocommit(engine) as own, Session(own) as session:
        return import_service.read_balances(session, file)


def post(engine: Engine, openings: list[Opening]) -> None:
    with Session(engine) as session, transaction(session):
        import_service.import_balances(session, SYSTEM, openings)


def test_a_fault_behind_good_lines_undoes_them(
    engine: Engine, connection: Connection, shop: TestUser
) -> None:
    class Torn(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            if not line:
                raise OSError("torn")
            return line

    before = contents(connection)
    with pytest.raises(OSError, match="torn"):
        read(engine, Torn(HEADER + GOOD))
    assert contents(connection) == before


def test_a_file_that_pauses_holds_no_transaction(
    engine: Engine, superuser: Engine, shop: TestUser
) -> None:
    """The server ends a session that does nothing inside a transaction for half a minute."""
    open_ones = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state LIKE 'idle in transaction%'"
    )
    seen: list[int] = []

    class Pausing(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            with superuser.connect() as watching:
                seen.append(int(watching.scalar(open_ones) or 0))
            return super().readline(size)

    assert len(read(engine, Pausing(HEADER + GOOD + b"shop,USD,1\n"))) == 2
    assert seen == [0, 0, 0, 0]


def test_a_standard_input_that_pauses_for_long_is_imported(
    environment: dict[str, str], connection: Connection, shop: TestUser
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "standart", "import-balances", "-"],
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("user,currency,balance\nshop,RUB,1.00\n")
    process.stdin.flush()
    asked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND query LIKE '%opening_balance%'"
    )
    wait_until(lambda: bool(connection.scalar(asked)))
    said, _ = process.communicate("shop,USD,2.00\n", timeout=30)
    assert (process.returncode, said) == (0, "imported 2\n")
    assert balances(connection, shop) == [("RUB", 100), ("USD", 200)]


@pytest.mark.parametrize("change", ["deleted", "opened"])
def test_what_changed_since_it_was_read_is_one_clear_error(
    engine: Engine, connection: Connection, shop: TestUser, change: str
) -> None:
    openings = read(engine, io.BytesIO(HEADER + GOOD))
    if change == "deleted":
        with Session(engine) as session, transaction(session):
            user_service.delete_user(session, SYSTEM, session.get_one(User, shop.id))
    else:
        post(engine, openings)
    before = contents(connection)
    with pytest.raises(InvalidInput) as error:
        post(engine, openings)
    assert [each.field for each in error.value.errors] == ["line 2:"]
    assert contents(connection) == before


@pytest.mark.parametrize("endless", ["/dev/zero", "a line of 1 GB", "a line of commas of 1 GB"])
def test_a_gigabyte_costs_no_memory(
    environment: dict[str, str],
    shop: TestUser,
    connection: Connection,
    tmp_path: Path,
    endless: str,
) -> None:
    before = contents(connection)
    path = tmp_path / "large.csv"
    if endless == "/dev/zero":
        path = Path(endless)
    else:
        with path.open("wb") as large:
            large.write(HEADER + GOOD + (b"shop," * 1000 if "commas" in endless else b""))
            large.truncate(1 << 30)  # a hole: it takes no room on the disk

    def poor() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))

    done = subprocess.run(
        [sys.executable, "-m", "standart", "import-balances", str(path)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        preexec_fn=poor,
        timeout=60,
    )

    assert done.returncode == 2, done.stderr
    number = 1 if endless == "/dev/zero" else 3
    assert done.stderr == f"Error: line {number}: is longer than 2048 bytes\n"
    assert contents(connection) == before


def test_many_lines_are_read_as_they_come(
    engine: Engine, keyring: Keyring, connection: Connection, shop: TestUser
) -> None:
    class Stream(io.RawIOBase):
        """A file that is made while it is read; it remembers how much was asked at once."""

        def __init__(self, lines: Iterator[bytes]) -> None:
            self.lines = lines
            self.largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size, "a bound on each read"
            self.largest = max(self.largest, size)
            return next(self.lines, b"")

    def lines() -> Iterator[bytes]:
        yield HEADER
        yield GOOD
        for _ in range(100_000):
            yield b"\n"
        yield b"shop,USD,1.00\n"

    stream = Stream(lines())
    assert len(read(engine, stream)) == 2  # type: ignore[arg-type]  # reads only what it is asked for
    assert stream.largest <= import_service.LONGEST_LINE + 1


def test_of_two_imports_at_once_one_is_refused(
    engine: Engine, connection: Connection, shop: TestUser
) -> None:
    openings = read(engine, io.BytesIO(HEADER + GOOD))
    with Session(engine) as session, transaction(session):
        import_service.import_balances(session, SYSTEM, openings)
        with pytest.raises(Unavailable):
            post(engine, openings)
    with pytest.raises(InvalidInput):
        post(engine, openings)
    assert balances(connection, shop) == [("RUB", 100)]
