"""The chain's head outside: in a file that grows line by line, or told to a URL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from standart import anchoring
from standart.anchoring import AnchorFailed
from standart.services import chain
from standart.services.canonical import Digest
from standart.services.chain import Link

START = datetime(2026, 11, 28, tzinfo=UTC)


def make_chain(length: int, word: str = "line") -> list[Link]:
    links: list[Link] = []
    for number in range(1, length + 1):
        digest = Digest()
        digest.add(f"{word} {number}")
        former = links[-1] if links else None
        links.append(chain.next_link(former, START + timedelta(hours=number), digest))
    return links


def leave(place: Path | str, links: list[Link]) -> None:
    anchoring.leave(str(place), links[-1], lambda number: links[number:])


def test_a_file_gets_a_line_for_each_seal_it_lacks(tmp_path: Path) -> None:
    links = make_chain(5)
    file = tmp_path / "anchor.jsonl"
    for length in (1, 1, 3, 5, 5):
        leave(file, links[:length])
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        assert kept == [link.wire() for link in links[:length]]


def test_many_who_write_one_file_write_each_line_once(tmp_path: Path) -> None:
    links = make_chain(40)
    file = tmp_path / "anchor.jsonl"

    def write() -> None:
        for length in range(1, 41):
            leave_what_fits(file, links[:length])

    def leave_what_fits(place: Path, some: list[Link]) -> None:
        # Who comes with less than another one has left finds a longer file.
        with suppress(AnchorFailed):
            leave(place, some)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    kept = [json.loads(line)["number"] for line in file.read_text().splitlines()]
    assert kept == list(range(1, 41))


@pytest.mark.parametrize("whole", [0, 2])
@pytest.mark.parametrize("kept", [1, 100, -1])
def test_a_line_that_was_cut_off_is_written_to_its_end(
    tmp_path: Path, whole: int, kept: int
) -> None:
    """As a full disk leaves it; where things can only be appended nobody could mend it."""
    links = make_chain(4)
    lines = [anchoring.line_of(link) for link in links]
    file = tmp_path / "anchor.jsonl"
    file.write_bytes(b"".join(lines[:whole]) + lines[whole][:kept])

    leave(file, links)

    assert file.read_bytes() == b"".join(lines)


def test_a_chain_with_a_gap_is_not_left(tmp_path: Path) -> None:
    links = make_chain(4)
    file = tmp_path / "anchor.jsonl"
    leave(file, links[:1])
    with pytest.raises(AnchorFailed, match="seal 3 is missing here"):
        anchoring.leave(str(file), links[-1], lambda number: [links[1], links[3]])
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [1, 2]


WRONG = {
    "another chain": lambda: [anchoring.line_of(link) for link in make_chain(3, "other")],
    "a longer chain": lambda: [anchoring.line_of(link) for link in make_chain(4)],
    "a former seal of another": lambda: [anchoring.line_of(make_chain(2, "other")[1])],
    "half a line of another chain": lambda: [anchoring.line_of(make_chain(1, "other")[0])[:-9]],
    "half a line behind the end": lambda: [
        *map(anchoring.line_of, make_chain(3)),
        anchoring.line_of(make_chain(4)[3])[:9],
    ],
    "a line without an end": lambda: [b"x" * 10_000],
    "no JSON": lambda: [b"seal 1\n"],
    "no seal": lambda: [b'{"number": "1"}\n'],
    "a list": lambda: [b"[1]\n"],
    "not UTF-8": lambda: [b"\xff\xfe\n"],
}


@pytest.mark.parametrize("lines", WRONG.values(), ids=WRONG)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, lines: Any) -> None:
    file = tmp_path / "anchor.jsonl"
    file.write_bytes(b"".join(lines()))
    before = file.read_bytes()
    with pytest.raises(AnchorFailed, match=str(file)):
        leave(file, make_chain(3))
    assert file.read_bytes() == before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnchorFailed):
        leave(tmp_path / "no" / "anchor", make_chain(1))


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent; answers what its server says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Receiver)
    server.taken, server.status = [], 204
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_told_the_head(receiver: Any) -> None:
    links = make_chain(3)
    leave(f"http://127.0.0.1:{receiver.server_port}/anchor", links)
    assert receiver.taken == [links[-1].wire()]


def test_what_lets_us_in_there_is_not_told(receiver: Any) -> None:
    receiver.status = 500
    place = f"127.0.0.1:{receiver.server_port}/anchor"
    with pytest.raises(AnchorFailed) as refused:
        leave(f"http://{place}?token=hidden", make_chain(1))
    assert str(refused.value).startswith(f"http://{place}: ")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_url_that_does_not_take_it_is_a_failure(receiver: Any, status: int) -> None:
    receiver.status = status
    with pytest.raises(AnchorFailed, match=str(status)):
        leave(f"http://127.0.0.1:{receiver.server_port}/anchor", make_chain(1))


def test_nobody_there_is_a_failure(receiver: Any) -> None:
    port = receiver.server_port
    receiver.shutdown()
    receiver.server_close()
    with pytest.raises(AnchorFailed):
        leave(f"http://127.0.0.1:{port}/", make_chain(1))
