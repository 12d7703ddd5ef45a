"""`docs/receipts.md` is true: its commands run, its programs believe what is signed alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from standart.api.operations.receipts import OPERATIONS
from standart.receipts import keys
from standart.receipts.canonical import canonical
from standart.receipts.verification import verify
from tests.acceptance.http import Http
from tests.receipts import KNOWN, OTHER_PUBLIC, OTHER_SEED, PUBLIC, SEALS, content, signed
from tests.world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "receipts.md").read_text(encoding="utf-8")
KEY = keys.encoded(PUBLIC)


def blocks(language: str) -> list[str]:
    """The programs of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def program(name: str) -> str:
    """Where a program is; without it the report of the tests says what was not executed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on PATH: its lines in docs/receipts.md were not executed")
    return path


def test_the_answer_of_the_page_is_the_documented_one_and_right() -> None:
    (shown,) = (json.loads(block) for block in blocks("json"))
    documented = OPERATIONS[0].example
    assert shown == documented
    public = OPERATIONS[1].example["keys"][0]["public_key"]
    key = keys.read_key(public)
    assert verify(canonical(shown), {key.id: key}).is_right


def test_the_page_names_every_check() -> None:
    named = re.findall(r"^\| `([a-z ]+)` \|", PAGE, re.MULTILINE)
    verdict = verify(signed(), KNOWN, seals=[json.dumps(each).encode() for each in SEALS])
    assert named == [check.name for check in verdict.checks]


def test_the_bytes_that_the_page_counts_are_those_that_are_signed() -> None:
    (before, after) = re.search(r"from byte (\d+) to the (\d+) bytes\s+before", PAGE).groups()  # type: ignore[union-attr]
    data = signed()
    receipt = data[int(before) - 1 : -int(after)]
    assert receipt == canonical(json.loads(data)["receipt"])


def test_the_commands_of_the_page_get_and_check_a_receipt(
    server: Http, world: World, tmp_path: Path
) -> None:
    program("curl")
    done = subprocess.run(
        ["sh", "-ec", blocks("sh")[0]],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "KEY": world.shop.key,
            "URL": f"http://127.0.0.1:{server.port}",
            "ID": world.ids["confirmed"],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "the receipt is right"
    listed = json.loads((tmp_path / "receipt_keys.json").read_bytes())["keys"]
    judged = by_openssl(tmp_path, (tmp_path / "receipt.json").read_bytes(), listed[0]["public_key"])
    assert judged


def in_python() -> Any:
    """The function of the page."""
    (source,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(source, "docs/receipts.md", "exec"), names)  # the page is ours
    return names["verify"]


def test_the_python_is_ten_lines() -> None:
    (source,) = blocks("python")
    body = [line for line in source.splitlines() if line.strip() and '"""' not in line]
    assert len(body) == 10


def test_the_python_returns_what_was_signed_and_nothing_else() -> None:
    judge, data = in_python(), signed()
    receipt = json.loads(data)["receipt"]
    assert judge(data, KEY) == receipt
    for place in range(len(data)):
        for mask in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= mask
            try:
                found = judge(bytes(changed), KEY)
            except Exception:  # whatever it raises, it does not believe
                continue
            assert found == receipt, place


def lies() -> dict[str, tuple[bytes, str]]:
    """Files and the key they are checked with, none of which is to be believed."""
    right = json.loads(signed())
    more = {**right, "receipt": {**right["receipt"], "note": "x"}}
    forged = signed(OTHER_SEED, transaction__amount="900.00")
    return {
        "another key": (signed(), keys.encoded(OTHER_PUBLIC)),
        "by another key": (signed(OTHER_SEED), KEY),
        "another amount": (signed().replace(b"100.00", b"900.00"), KEY),
        "an unknown field": (canonical(more), KEY),
        "of another receipt": (
            canonical({**right, "signature": json.loads(forged)["signature"]}),
            KEY,
        ),
        "another receipt": (
            canonical({**right, "receipt": {**right["receipt"], **content(seal=None)}}),
            KEY,
        ),
        "empty": (b"", KEY),
        "half": (signed()[:600], KEY),
    }


@pytest.mark.parametrize("case", lies())
def test_the_python_believes_no_lie(case: str) -> None:
    data, key = lies()[case]
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever it raises
        in_python()(data, key)


def by_openssl(folder: Path, data: bytes, key: str) -> bool:
    """Judge by the lines of the page."""
    program("openssl")
    (folder / "receipt.json").write_bytes(data)
    done = subprocess.run(
        ["sh", "-c", blocks("sh")[1]],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PUBLIC_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ("Signature Verified Successfully" in done.stdout)
    return done.returncode == 0


def test_openssl_believes_what_is_signed(tmp_path: Path) -> None:
    assert by_openssl(tmp_path, signed(), KEY)
    assert by_openssl(tmp_path, signed(settlement=None, seal=None, chain_head=None), KEY)


@pytest.mark.parametrize("case", lies())
def test_openssl_believes_no_lie(tmp_path: Path, case: str) -> None:
    data, key = lies()[case]
    assert not by_openssl(tmp_path, data, key)
