"""`standart verify-receipt`: offline, by name of each check, whatever the file holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import Engine

from standart.__main__ import create_app
from standart.cli import command_line
from standart.receipts import document, keys
from tests.builders import TestUser
from tests.integration.commands import Run, refused
from tests.integration.movements import paid
from tests.receipts import (
    KEY_ID,
    OTHER_PUBLIC,
    OTHER_SEED,
    PUBLIC,
    SEALS,
    key_entry,
    key_list,
    signed,
)

KEY = keys.encoded(PUBLIC)
NAMES = [
    *("shape", "canonical form", "key known", "signature", "status", "amounts", "entries"),
    "seal",
]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Check bytes with nothing in the environment at all."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        monkeypatch.delenv(name)

    def run(data: bytes, *options: str, typed: bytes | None = None, **files: bytes) -> Result:
        (tmp_path / "receipt.json").write_bytes(data)
        named = ["-" if typed is not None else "receipt.json"]
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            named += [f"--{name}", name]
        arguments = ["verify-receipt", *named, *options]
        return CliRunner().invoke(command_line(create_app), arguments, input=typed)

    return run


def failed(result: Result) -> list[str]:
    """The checks that the output names as failed; asserts exit 1 and that stderr agrees."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("failed")]
    names = [name for name in (*NAMES, "chain") if any(line[9:].startswith(name) for line in lines)]
    assert result.stderr == f"Error: the receipt is not right: {', '.join(names)}\n"
    return names


def test_a_right_receipt(check: Run) -> None:
    done = check(signed(), "--public-key", KEY)
    assert (done.exit_code, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert [line[9:24].strip() for line in lines] == NAMES
    assert {line[:9].strip() for line in lines} == {"ok"}
    assert last == "the receipt is right"


def test_json_says_the_same(check: Run) -> None:
    done = check(signed(), "--public-key", KEY, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["valid"], told["key_id"]) == (True, KEY_ID)
    assert told["transaction_id"] == json.loads(signed())["receipt"]["transaction"]["id"]
    assert [each["name"] for each in told["checks"]] == NAMES

    done = check(b"{}", "--public-key", KEY, "--json")
    assert (done.exit_code, done.stderr) == (1, "Error: the receipt is not right: shape\n")
    told = json.loads(done.stdout)
    assert (told["valid"], told["key_id"], told["transaction_id"]) == (False, None, None)
    results = {each["name"]: each["result"] for each in told["checks"]}
    assert results == dict.fromkeys(NAMES, "skipped") | {"shape": "failed"}


def test_keys_come_from_a_file_that_was_kept(check: Run) -> None:
    retired = key_entry(retired_at="2026-12-01T00:00:00.000000Z")
    done = check(signed(), keys=key_list(key_entry(OTHER_PUBLIC), retired))
    assert done.exit_code == 0
    assert f"{KEY_ID}, retired 2026-12-01" in done.stdout


def test_without_a_key_nothing_is_believed(check: Run) -> None:
    refused(check(signed()), 2, "--keys", "--public-key", "would prove nothing")
    assert failed(check(signed(), keys=key_list())) == ["key known"]


def test_standard_input_is_a_file(check: Run) -> None:
    assert check(b"", "--public-key", KEY, typed=signed()).exit_code == 0
    assert failed(check(b"", "--public-key", KEY, typed=b"")) == ["shape"]


@pytest.mark.parametrize("place", range(0, len(signed()), 37))
def test_a_changed_byte_is_exit_1_and_names_a_check(check: Run, place: int) -> None:
    data = bytearray(signed())
    data[place] ^= 1
    assert failed(check(bytes(data), "--public-key", KEY))


FILES = {
    "empty": b"",
    "huge": b" " * (document.LONGEST + 1),
    "deep": b"[" * 100_000,
    "NaN": b'{"receipt":NaN}',
    "not UTF-8": b"\xff\xfe",
    "a terminal's escape": b'{"\x1b[2J":1}',
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_no_receipt_is_exit_1_by_its_shape(check: Run, case: str) -> None:
    done = check(FILES[case], "--public-key", KEY)
    assert failed(done) == ["shape"]
    assert done.output.isascii()
    assert "\x1b" not in done.output
    assert "Traceback" not in done.output


def test_another_key_is_named(check: Run) -> None:
    done = check(signed(OTHER_SEED), "--public-key", KEY)
    assert failed(done) == ["key known"]
    assert "is not among the keys" in done.stdout
    assert "skipped  signature" in done.stdout


@pytest.mark.parametrize(
    "given",
    [key_list(key_entry(OTHER_PUBLIC, id=KEY_ID)), b"x", b"", b" " * (1024 * 1024 + 1)],
    ids=["exchanged", "no JSON", "empty", "huge"],
)
def test_a_list_of_keys_that_cannot_be_used_is_exit_2(check: Run, given: bytes) -> None:
    refused(check(signed(), keys=given), 2, "--keys: ")


def test_a_key_that_is_none_is_exit_2(check: Run) -> None:
    refused(check(signed(), "--public-key", "hello"), 2, "--public-key: ", "32 bytes")


def test_a_file_that_is_not_there_is_exit_2(check: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("nothing.json", "folder"):
        for arguments in (
            ["verify-receipt", name, "--public-key", KEY],
            ["verify-receipt", "receipt.json", "--keys", name],
            ["verify-receipt", "receipt.json", "--public-key", KEY, "--seals", name],
        ):
            (tmp_path / "receipt.json").write_bytes(signed())
            done = CliRunner().invoke(command_line(create_app), arguments)
            assert (done.exit_code, done.stdout) == (2, ""), arguments
            assert name in done.stderr


def exported(*seals: dict[str, object]) -> bytes:
    return b"".join(json.dumps(seal).encode() + b"\n" for seal in seals)


def test_a_chain_that_was_kept_is_looked_at(check: Run) -> None:
    whole, cut = exported(*SEALS), exported(*SEALS[:3])
    assert check(signed(), "--public-key", KEY, seals=whole).exit_code == 0
    done = check(signed(), "--public-key", KEY, seals=cut)
    assert failed(done) == ["chain"]
    assert "seal 5 is not in it" in done.stdout


@pytest.mark.parametrize("line", [b"x\n", b"1" * 10_000_000], ids=["no JSON", "one long line"])
def test_a_chain_that_cannot_be_read_is_exit_2(check: Run, line: bytes) -> None:
    done = check(signed(), "--public-key", KEY, seals=exported(*SEALS[:2]) + line)
    refused(done, 2, "--seals: line 3")


def test_it_is_a_program_that_needs_nothing(tmp_path: Path) -> None:
    """The real command, without a variable, a database or a folder of its own."""
    (tmp_path / "receipt.json").write_bytes(signed())
    command = Path(sys.executable).with_name("standart")
    done = subprocess.run(
        [command, "verify-receipt", "receipt.json", "--public-key", KEY],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "the receipt is right"
    assert [each.name for each in tmp_path.iterdir()] == ["receipt.json"]


def test_a_receipt_is_held_against_an_export_that_was_kept(
    run: Run,
    client: FlaskClient,
    engine: Engine,
    admin: TestUser,
    merchant: TestUser,
    tmp_path: Path,
) -> None:
    """The service's own answers and exports, with seals that came before and after."""
    made = paid(engine, admin, merchant)
    assert run("seal", "--export", "early").exit_code == 0
    paid(engine, admin, merchant)
    assert run("seal", "--export", "late").exit_code == 0
    answer = client.get(f"/receipt?id={made}", headers=merchant.headers)
    (tmp_path / "receipt.json").write_bytes(answer.data)
    (tmp_path / "keys").write_bytes(client.get("/receipt_keys").data)

    def held_against(name: str) -> Result:
        return run("verify-receipt", "receipt.json", "--keys", "keys", "--seals", name)

    done = held_against("late")
    assert (done.exit_code, done.stderr) == (0, "")
    assert failed(held_against("early")) == ["chain"]
    assert "seal 2 is not in it" in held_against("early").stdout
