"""The commands of reconciliation: exit codes, reports, and files that leave nothing behind."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from standart.bank_files.lines import LONGEST_LINE
from standart.cli import reconciliation_report
from standart.clock import now
from standart.encryption import Keyring
from standart.services import transaction_service
from tests.builders import ORIGIN, TestUser, make_transaction, make_user
from tests.integration.commands import Run, refused
from tests.world import contents

MAP = "--map=reference=Order,amount=Sum,date=Date"
HEAD = "Order,Sum,Date\n"
TODAY = "{today}"


@pytest.fixture
def shop(engine: Engine, keyring: Keyring, connection: Connection, admin: TestUser) -> TestUser:
    """A merchant with two confirmed payments, A-1 and =A-2, of 100 roubles each."""
    owner = make_user(engine, keyring, name="=shop")
    for reference in ("A-1", "=A-2"):
        made = make_transaction(engine, owner, reference=reference)
        transaction_service.confirm(connection, admin.digest, ORIGIN, made["id"])
    return owner


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(content: str | bytes, name: str = "provider.csv") -> str:
        path = tmp_path / name
        if isinstance(content, str):
            content = content.replace(TODAY, now().date().isoformat()).encode()
        path.write_bytes(content)
        return str(path)

    return write


BOTH = f"{HEAD}A-1,100.00,{TODAY}\n=A-2,100.00,{TODAY}\n"
ONE = f"{HEAD}A-1,99.00,{TODAY}\n"


def test_exit_code_0_when_both_sides_say_the_same(
    run: Run, shop: TestUser, file: Callable[..., str]
) -> None:
    done = run("reconcile", file(BOTH), MAP)
    assert done.exit_code == 0, done.output
    assert "provider.csv, 2 payments\n" in done.stdout
    assert "matched        in         RUB       2        200.00  2     200.00" in done.stdout
    assert "LINE" not in done.stdout


def test_a_report_into_what_is_no_file_leaves_it_there(
    run: Run, shop: TestUser, file: Callable[..., str], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), newline="") as reading:
        done = run("reconcile", file(BOTH), MAP, "--output", str(pipe))
        assert done.exit_code == 0, done.output
        assert len(list(csv.DictReader(reading))) == 2
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "span",
    [
        ("--from", "0001-01-01"),
        ("--to", "9999-12-31"),
        ("--from", "0001-01-01", "--to", "9999-12-31"),
        ("--from", "1989-12-31"),
    ],
    ids=" ".join,
)
def test_a_span_of_no_file_is_refused(
    run: Run, shop: TestUser, file: Callable[..., str], span: tuple[str, ...]
) -> None:
    refused(run("reconcile", file(BOTH), MAP, *span), 2, "must be in the years 1990 to 2199")


def test_exit_code_1_when_they_differ(run: Run, shop: TestUser, file: Callable[..., str]) -> None:
    done = run("reconcile", file(ONE), MAP, "--user", "=SHOP")
    assert done.exit_code == 1, done.output
    assert "books of =shop" in done.stdout
    assert "differing      amount  2" in done.stdout
    assert "missing there" in done.stdout


def test_standard_input_is_a_file_too(run: Run, shop: TestUser, file: Callable[..., str]) -> None:
    content = Path(file(BOTH)).read_text()
    done = run("reconcile", "-", MAP, "--json", typed=content)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["file_name"] == "standard input"


def test_json_has_the_run_and_its_differences(
    run: Run, shop: TestUser, file: Callable[..., str]
) -> None:
    done = run("reconcile", file(ONE), MAP, "--json", "--zone", "Europe/Moscow")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (found["format"], found["zone"], found["lines"]) == ("csv", "Europe/Moscow", 1)
    assert found["options"]["columns"] == {"reference": "Order", "amount": "Sum", "date": "Date"}
    assert [(row["outcome"], row["amount"], row["our_amount"]) for row in found["rows"]] == [
        ("differing", "99.00", "100.00"),
        ("missing_there", None, "100.00"),
    ]
    assert len(found["file_digest"]) == 64

    number = str(found["number"])
    again = json.loads(run("show-reconciliation", number, "--json").stdout)
    assert again == found
    one = json.loads(
        run("show-reconciliation", found["id"], "--json", "--outcome", "matched").stdout
    )
    assert one == {**found, "rows": []}
    listed = json.loads(run("list-reconciliations", "--json").stdout)["data"]
    assert listed == [{name: value for name, value in found.items() if name != "rows"}]
    assert "provider.csv" in run("list-reconciliations").stdout


def test_a_report_for_spreadsheets_holds_every_row_and_no_formula(
    run: Run, shop: TestUser, file: Callable[..., str], tmp_path: Path
) -> None:
    content = f"{HEAD}=A-2,100.00,{TODAY}\n@SUM(A1),1.50,{TODAY}\n"
    done = run("reconcile", file(content), MAP, "--output", "report.csv")
    assert done.exit_code == 1, done.output
    report = tmp_path / "report.csv"
    assert report.stat().st_mode & 0o077 == 0
    rows = list(csv.DictReader(io.StringIO(report.read_text("utf-8-sig"))))
    assert [(row["outcome"], row["reference"], row["amount"], row["user"]) for row in rows] == [
        ("missing_here", "'@SUM(A1)", "1.50", ""),
        ("missing_there", "", "", "'=shop"),
        ("matched", "'=A-2", "100.00", "'=shop"),
    ]
    shown = run("show-reconciliation", rows[0]["reconciliation"], "--outcome", "matched",
                "--output", "matched.csv")  # fmt: skip
    assert shown.exit_code == 0
    assert len((tmp_path / "matched.csv").read_text().splitlines()) == 2


def test_a_report_is_not_replaced_by_one_of_a_bad_file(
    run: Run, shop: TestUser, file: Callable[..., str], tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    report.write_text("as before")
    refused(run("reconcile", file(HEAD), MAP, "--output", "report.csv"), 2, "no row follows")
    assert report.read_text() == "as before"
    assert {path.name for path in tmp_path.iterdir()} == {"report.csv", "provider.csv"}
    refused(run("reconcile", file(BOTH), MAP, "--output", "no/report.csv"), 2, "--output")


def test_a_long_report_is_cut_on_a_terminal(
    run: Run, shop: TestUser, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation_report, "MOST_SHOWN", 2)
    rows = "".join(f"B-{number},1.00,{TODAY}\n" for number in range(3))
    done = run("reconcile", file(HEAD + rows), MAP)
    assert "… and 3 more; --output writes all of them" in done.stdout


BAD: dict[str, tuple[str | bytes, tuple[str, ...], str]] = {
    "no map": (BOTH, (), "--map must say what the columns are; there are 'Order', 'Sum', 'Date'"),
    "map of nothing": (BOTH, ("--map=amount=Sum",), "--map must say which column is the date"),
    "missing column": (BOTH, ("--map=amount=Total,date=Date",), "line 1: has no column 'Total'"),
    "nobody's books": (BOTH, (MAP, "--user=nobody"), "no user called nobody"),
    "day that is none": (BOTH, (MAP, "--from=yesterday"), "--from must be a day"),
    "span that ends first": (BOTH, (MAP, "--to=2001-01-01"), "to must be after the span's start"),
    "zone of nowhere": (BOTH, (MAP, "--zone=Nowhere/Land"), "--zone must be a time zone"),
    "zone outside the zones": (BOTH, (MAP, "--zone=../../etc/passwd"), "--zone must be a time"),
    "currency of nowhere": (BOTH, (MAP, "--currency=XXX"), "currency is not a known"),
    "format of dates": (BOTH, (MAP, "--date-format=%Y"), "--date-format is made of"),
    "nothing": ("", (MAP,), "line 1: is missing"),
    "header only": (HEAD, (MAP,), "line 1: is the header"),
    "a million columns": (b"," * 999_999, (MAP,), "line 1: is longer than"),
    "NUL": (HEAD + "A\0,1,2026-01-01\n", (MAP,), "line 2: holds a NUL byte"),
    "wrong encoding": (
        HEAD.encode() + b"\xd0,1,2026-01-01\n\xd0\x81,\x98",
        (MAP,),
        "line 3: is not windows-1251",
    ),
    "last line": (BOTH + "B,1.00,2026-02-30\n", (MAP,), "line 4: date '2026-02-30' is no date of"),
    "amount of nothing": (BOTH + f"B,0.00,{TODAY}\n", (MAP,), "line 4: amount '0.00' must be"),
    "amount too large": (BOTH + f"B,{10**14},{TODAY}\n", (MAP,), "line 4: amount"),
    "broken exchange file": (
        "1CClientBankExchange\nВерсияФормата=1.03\nКодировка=UTF-8\nРасчСчет=1\n",
        (),
        "line 5: is missing: the file ends without КонецФайла",
    ),
    "exchange file that is none": (BOTH, ("--format=1c",), "line 1: is not 1CClientBankExchange"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_ends_in_one_line_and_keeps_nothing(
    run: Run, shop: TestUser, file: Callable[..., str], connection: Connection, case: str
) -> None:
    content, options, message = BAD[case]
    before = contents(connection)
    code = 1 if case == "nobody's books" else 2
    refused(run("reconcile", file(content), *options), code, message)
    assert contents(connection) == before


@pytest.mark.parametrize("which", ["999999999", "-1", "nonsense", "0" * 30, "١"])
def test_a_reconciliation_that_is_not_there(run: Run, which: str) -> None:
    refused(run("show-reconciliation", "--", which), 1, "There is no such reconciliation")


def test_a_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    assert run("reconcile", str(tmp_path), MAP).exit_code == 2
    assert run("reconcile", str(tmp_path / "none.csv"), MAP).exit_code == 2
    # It can be opened, and its first byte is nowhere.
    refused(run("reconcile", "/proc/self/mem", MAP), 2, "the file cannot be read")


def test_a_line_of_a_gigabyte_needs_no_gigabyte(
    environment: dict[str, str], connection: Connection, tmp_path: Path
) -> None:
    """In a process whose memory ends long before the line does."""
    path = tmp_path / "huge.csv"
    with path.open("wb") as huge:
        huge.truncate(1 << 30)
        huge.write(b"x" * (LONGEST_LINE + 10))
    before = contents(connection)
    most = 512 << 20
    done = subprocess.run(
        [sys.executable, "-m", "standart", "reconcile", str(path), MAP],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [f"Error: line 1: is longer than {LONGEST_LINE} bytes"]
    assert contents(connection) == before


def test_a_name_that_is_no_text_is_kept_as_one(
    run: Run, shop: TestUser, file: Callable[..., str], tmp_path: Path, connection: Connection
) -> None:
    path = Path(file(BOTH))
    odd = os.fsencode(tmp_path) + b"/\xff\x1b[31m.csv"
    path.rename(Path(os.fsdecode(odd)))
    assert run("reconcile", os.fsdecode(odd), MAP).exit_code == 0
    assert connection.scalar(text("SELECT file_name FROM reconciliations")) == "??[31m.csv"
