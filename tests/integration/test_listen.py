"""`standart listen`: nothing is missed or doubled, whatever the server does meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from standart.__main__ import create_app
from standart.cli import command_line
from standart.cli.event_stream import EventStream, StreamedEvent, StreamRefused
from standart.cli.listen import Forwarder, is_readable_by_others, matches
from standart.errors import InvalidInput
from standart.models import ApiKey
from standart.services import key_service
from standart.webhooks import signing
from tests.builders import TestUser
from tests.integration.commands import Run
from tests.integration.concurrency import wait_until
from tests.integration.feed import Feed
from tests.integration.hooks import GoodReceiver, serving
from tests.ports import free_port

KEY = key_service.generate()
SECRET = signing.new_secret()


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed().serving() as running:
        yield running


class Ear:
    """A stream whose pauses take no time, and what it said and did."""

    def __init__(self, feed: Feed, **options: Any) -> None:
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.stream = EventStream(
            feed.url,
            KEY,
            tell=self.told.append,
            pause=self.pauses.append,
            **{"wait": 0, **options},
        )
        self.pages = self.stream.pages()

    def hear(self, count: int) -> list[StreamedEvent]:
        """The next ``count`` events, which must end a page."""
        heard: list[StreamedEvent] = []
        while len(heard) < count:
            heard += next(self.pages)
        assert len(heard) == count
        return heard


def test_a_stream_begins_with_what_happens_from_now_on(feed: Feed) -> None:
    feed.add()
    ear = Ear(feed)
    ear.stream.start()
    wanted = [feed.add() for _ in range(7)]
    assert [event.id for event in ear.hear(7)] == wanted
    assert feed.asked[0] == {"path": "/events", "after": "now", "wait": "0"}
    ear.stream.user_id = UUID(int=7)
    feed.add()
    ear.hear(1)
    assert feed.asked[-1]["user_id"] == str(UUID(int=7))
    assert feed.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_stream_goes_on_where_an_earlier_one_ended(feed: Feed) -> None:
    wanted = [feed.add() for _ in range(7)]
    ear = Ear(feed, cursor="c0")
    ear.stream.start()
    assert [event.id for page in islice(ear.pages, 2) for event in page] == wanted[:6]
    # The second page was handed on, but nobody said yet that it is done with.
    assert ear.stream.cursor == "c3"
    again = Ear(feed, cursor="c6")
    assert [event.id for event in again.hear(1)] == wanted[6:]


@pytest.mark.parametrize(
    "fault", [500, 502, 503, 429, "cut", "drop", b"<html>", b"[]", b'{"data":[{}],"next":1}']
)
def test_what_is_broken_is_asked_for_again(feed: Feed, fault: int | str | bytes) -> None:
    wanted = [feed.add() for _ in range(4)]
    feed.faults += [fault, fault]
    ear = Ear(feed, cursor="c0")
    assert [event.id for event in ear.hear(4)] == wanted
    assert len(ear.told) == 2
    assert ear.told[0].endswith("; trying again")
    assert ear.told[1] == "the server answers again"
    assert ear.pauses[1] >= (7 if fault in (429, 503) else ear.pauses[0])


def test_pauses_grow_to_half_a_minute_and_begin_anew(feed: Feed) -> None:
    feed.add()
    feed.faults += [500] * 12
    ear = Ear(feed, cursor="c0")
    ear.hear(1)
    assert 0.4 <= ear.pauses[0] <= 0.6
    assert all(24 <= pause <= 36 for pause in ear.pauses[7:])
    feed.faults += [500]
    feed.add()
    ear.pauses.clear()
    ear.hear(1)
    assert ear.pauses[0] <= 0.6


def test_a_server_that_holds_no_poll_is_not_asked_without_a_break(feed: Feed) -> None:
    ear = Ear(feed, cursor="c0")

    def pause(seconds: float) -> None:
        ear.pauses.append(seconds)
        if len(ear.pauses) == 3:
            feed.add()

    ear.stream.pause = pause
    ear.hear(1)
    assert len(ear.pauses) == 3
    assert all(0 < seconds <= 1 for seconds in ear.pauses)
    feed.poll_after = 3
    ear.pauses.clear()
    ear.hear(1)
    assert all(1 < seconds <= 3 for seconds in ear.pauses)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_what_will_not_get_better_ends_it(feed: Feed, status: int) -> None:
    feed.faults += [status]
    ear = Ear(feed)
    with pytest.raises(StreamRefused, match=f"{status}: Said so"):
        ear.stream.start()
    assert ear.pauses == []


def test_a_poll_hears_of_an_event_while_it_waits(feed: Feed) -> None:
    ear = Ear(feed, cursor="c0", wait=20)
    wanted: list[str] = []

    def happen() -> None:
        wait_until(lambda: bool(feed.asked))
        wanted.append(feed.add())

    thread = threading.Thread(target=happen)
    thread.start()
    heard = ear.hear(1)
    thread.join()
    assert [event.id for event in heard] == wanted
    assert feed.asked == [{"path": "/events", "after": "c0", "wait": "20"}]


def test_a_server_that_restarts_is_found_again() -> None:
    with Feed(free_port()).serving() as before:  # to be had again
        kept = [before.add() for _ in range(3)]
        ear = Ear(before, cursor="c0")
        assert [event.id for event in ear.hear(3)] == kept
    wanted: list[str] = []
    with ExitStack() as stack:

        def come_back(seconds: float) -> None:
            """It is there again, with what happened meanwhile."""
            if not wanted:
                after = Feed(before.port)
                after.events += before.events
                wanted.extend(after.add() for _ in range(2))
                stack.enter_context(after.serving())

        ear.stream.pause = come_back
        assert [event.id for event in ear.hear(2)] == wanted


def test_an_event_keeps_its_bytes_and_fits_on_one_line(feed: Feed) -> None:
    feed.add(description="Чай, 2 шт.\u2028\n", amount="1.10")
    (event,) = Ear(feed, cursor="c0").hear(1)
    assert bytes(event.payload) in feed.events[0].encode()
    assert b"\n" not in event.line
    assert json.loads(event.line) == json.loads(feed.events[0])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["*"], True),
        (["payout.*"], True),
        (["payout.paid"], True),
        (["transaction.*", "payout.paid"], True),
        (["payout"], False),
        (["payout.failed", "refund.*"], False),
    ],
)
def test_types_are_chosen_as_for_endpoints(wanted: list[str], expected: bool) -> None:
    assert matches("payout.paid", wanted) is expected


# Forwarding


def test_what_is_forwarded_is_what_a_webhook_would_be(feed: Feed) -> None:
    feed.add(description="Чай")
    (event,) = Ear(feed, cursor="c0").hear(1)
    good = GoodReceiver("")
    with serving(good) as url:
        forwarder = Forwarder.to(url, anywhere=False)
        good.secret = forwarder.secret
        assert forwarder.send(event).startswith("HTTP 204 in ")
    assert good.accepted == [(event.id, bytes(event.payload))]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = Forwarder.to(f"http://localhost:{unused.getsockname()[1]}/", anywhere=False)
        assert gone.send(event).startswith("refused: ")


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/hook",
        "http://10.0.0.1/",
        "http://192.168.1.7:3000/",
        "https://1.1.1.1/",
        "https://localhost.shop.example/",
        "ftp://127.0.0.1/",
        "127.0.0.1:3000",
    ],
)
def test_forwarding_stays_on_this_machine(url: str) -> None:
    with pytest.raises(InvalidInput):
        Forwarder.to(url, anywhere=False)


def test_forwarding_may_leave_this_machine_where_it_is_asked_to() -> None:
    for url in ("http://10.0.0.1:3000/", "http://web.internal:3000/", "https://shop.example/"):
        assert Forwarder.to(url, anywhere=True, secret=SECRET).url == url


# The command


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:8000", False),
        ("http://localhost:8000", False),
        ("http://LOCALHOST.:8000", False),
        ("https://pay.example", False),
        ("http://pay.example", True),
        ("HTTP://10.0.0.5:8000", True),
        ("http://localhost.pay.example", True),
    ],
)
def test_a_key_in_the_open_is_seen(base: str, expected: bool) -> None:
    assert is_readable_by_others(base) is expected


def test_a_key_in_the_open_is_warned_of() -> None:
    url = "http://0.0.0.0:9"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventStream, "start", refuse)
        said = CliRunner().invoke(command_line(create_app), ["listen", "--url", url, "--key", KEY])
    assert f"warning: {url} is plain http" in said.stderr


def refuse(stream: EventStream) -> None:
    raise StreamRefused("not now")


def refusal(*arguments: str, **variables: str) -> str:
    done = CliRunner().invoke(
        command_line(create_app), ["listen", *arguments], env={"STANDART_API_KEY": ""} | variables
    )
    assert done.exit_code in (1, 2), done.output
    assert isinstance(done.exception, SystemExit)
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_nonsense_is_refused() -> None:
    assert "--key or --user" in refusal()
    assert "--key or --user" in refusal("--user", "shop", "--key", KEY)
    assert "not valid" in refusal("--key", "sk_live_x")
    assert "--events" in refusal("--key", KEY, "--events", "payout.*;ping")
    assert "--forward-to" in refusal("--key", KEY, "--forward-to", "https://shop.example/")
    assert "--secret" in refusal("--key", KEY, "--forward-to", "http://[::1]/", "--secret", "x")
    assert "--url" in refusal("--key", KEY, "--url", "pay.example")


def test_a_key_that_is_refused_ends_the_command(feed: Feed) -> None:
    feed.faults += [401]
    assert "401: Said so." in refusal("--url", feed.url, STANDART_API_KEY=KEY)


class Command:
    """`standart listen` in a process of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "standart", "listen", *arguments],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), **environment},
                cwd=folder,
                stdout=out,
                stderr=err,
            )

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, or the command has ended, which is a failure."""
        wait_until(lambda: condition() or self.process.poll() is not None)
        assert self.process.poll() is None, self.err.read_text()

    def notes(self) -> list[str]:
        return self.err.read_text().splitlines()

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


_ROOT = Path(__file__).parents[2]


@contextmanager
def listening(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[Command]:
    command = Command(folder, environment, *arguments)
    try:
        command.wait_for(lambda: any(note.startswith("listening to") for note in command.notes()))
        yield command
    finally:
        with suppress(ProcessLookupError):
            command.process.kill()
        command.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_shows_forwards_and_ends(
    feed: Feed, tmp_path: Path, number: signal.Signals
) -> None:
    good = GoodReceiver(SECRET)
    arguments = ("--url", feed.url, "--events", "payout.*", "--secret", SECRET)
    with (
        serving(good) as url,
        listening(tmp_path, {"STANDART_API_KEY": KEY}, *arguments, "--forward-to", url) as command,
    ):
        feed.add()
        wanted = [feed.add("payout.paid"), feed.add("payout.failed")]
        command.wait_for(lambda: len(command.lines()) == 4)
        command.wait_for(lambda: feed.asked[-1]["after"] == "c3")
        assert command.end(number) == 0
    shown = command.lines()
    assert "payout.paid" in shown[0]
    assert shown[0].endswith(wanted[0])
    assert shown[1].startswith("    → HTTP 204 in ")
    assert [each for each, _ in good.accepted] == wanted
    notes = command.notes()
    assert f"signed with {SECRET}" in notes[1]
    assert notes[-1] == "ended; --since c3 goes on from here"
    assert KEY not in command.err.read_text() + command.out.read_text()


def test_the_command_speaks_json_alone(feed: Feed, tmp_path: Path) -> None:
    with (
        serving(GoodReceiver(SECRET)) as url,
        listening(
            tmp_path,
            {"STANDART_API_KEY": KEY},
            *("--url", feed.url, "--json", "--forward-to", url, "--secret", SECRET),
        ) as command,
    ):
        wanted = [feed.add() for _ in range(4)]
        command.wait_for(lambda: len(command.lines()) == 4)
        assert command.end(signal.SIGINT) == 0
    assert [json.loads(line)["id"] for line in command.lines()] == wanted


def test_a_key_for_the_run_is_made_and_revoked(
    feed: Feed,
    tmp_path: Path,
    environment: dict[str, str],
    engine: Engine,
    merchant: TestUser,
) -> None:
    arguments = ("--url", feed.url, "--user", merchant.name)
    with listening(tmp_path, environment, *arguments) as command:
        with Session(engine) as session:
            made = session.query(ApiKey).order_by(ApiKey.created_at.desc()).first()
            assert made is not None
            assert (made.user_id, made.scopes) == (merchant.id, ["read"])
            assert made.expires_at is not None
            assert made.revoked_at is None
        assert command.end(signal.SIGTERM) == 0
    with Session(engine) as session:
        assert session.get_one(ApiKey, (merchant.id, made.id)).revoked_at is not None


def test_a_database_that_ends_first_is_borne(
    feed: Feed, run: Run, merchant: TestUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("", {}, Exception("gone"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(key_service, "revoke_key", fail)
    monkeypatch.setattr(EventStream, "pages", interrupt)
    done = run("listen", "--url", feed.url, "--user", merchant.name)
    assert done.exit_code == 0, done.output
    assert "could not be revoked; it ends within a day" in done.stderr
