"""Where the sender may not go, and how it asks for names."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Any

import pytest

from standart.webhooks import dialing
from standart.webhooks.addresses import UrlRules
from standart.webhooks.dialing import STAGGER, dial
from standart.webhooks.lookups import Lookups, is_own, system_addresses
from standart.webhooks.sender import Attempt, Sender, send_all
from tests.integration.webhook_receivers import (
    ELSEWHERE,
    LOOPBACK,
    NAMES,
    OK,
    PUBLIC,
    Receiver,
    answers,
    delivery,
    own_connections,
    raising,
    send,
    sending,
    unreachable_resolver,
    until,
    untouched,
)


@pytest.mark.parametrize("rules", [PUBLIC, UrlRules(allow_http=True), ELSEWHERE])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "127.0.0.1.",
        "localhost.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "a@127.0.0.1",
        r"127.0.0.1\@example.com",
        r"example.com\@127.0.0.1",
        "127.0.0.1\t",
        "127.0.0.1%00",
    ],
    ids=ascii,
)
def test_a_stored_url_that_is_refused_now_is_blocked_without_a_connection(
    rules: UrlRules, scheme: str, host: str
) -> None:
    with untouched() as port:
        attempt = send(f"{scheme}://{host}:{port}/", rules)
    assert (attempt.outcome, attempt.status_code) == ("blocked", None)
    assert attempt.error


@pytest.mark.parametrize("host", ["localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"])
def test_localhost_is_never_asked_for_and_blocked(host: str) -> None:
    with untouched() as port:
        assert send(f"https://{host}:{port}/", PUBLIC).outcome == "blocked"
        assert send(f"https://{host}:{port}/", ELSEWHERE).outcome == "blocked"


def test_an_ipv6_literal_works_where_it_is_allowed() -> None:
    rules = UrlRules(allowed_networks=(ip_network("::1/128"),))
    try:
        receiver = Receiver(answers(OK), host="::1")
    except OSError as exc:
        pytest.skip(f"this machine has no IPv6 loopback: {exc}")
    with receiver:
        url = f"http://[0:0::1]:{receiver.port}/"
        assert send(url, rules).outcome == "delivered"
        assert send(url, LOOPBACK).outcome == "blocked"
    assert f"Host: [::1]:{receiver.port}\r\n".encode() in receiver.requests[0]
    assert receiver.connections == 1


def test_localhost_works_where_loopback_is_allowed() -> None:
    with Receiver(answers(OK)) as receiver:
        assert send(f"http://localhost:{receiver.port}/").outcome == "delivered"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "10.0.0.1"],
        ["8.8.8.8"],
        ["169.254.169.254"],
        ["nonsense"],
        ["fe80::1%lo"],
    ],
    ids=",".join,
)
def test_a_name_with_any_forbidden_address_is_blocked(addresses: list[str]) -> None:
    with untouched() as port:
        url = f"http://hooks.example.com:{port}/"
        attempt = send(url, ELSEWHERE, resolve=lambda host: addresses)
    assert attempt.outcome == "blocked"
    assert any(address in attempt.error for address in addresses)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"])
def test_one_private_address_beside_a_public_one_blocks_the_name(address: str) -> None:
    for addresses in (["93.184.216.34", address], [address, "93.184.216.34"]):
        attempt = send(
            "https://hooks.example.com/", PUBLIC, resolve=lambda host, found=addresses: found
        )
        assert attempt.outcome == "blocked"
        assert address in attempt.error


def test_the_name_is_asked_for_once_so_that_rebinding_comes_too_late() -> None:
    replies = [["127.0.0.1"], ["169.254.169.254"]]
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return replies[len(asked) - 1]

    with Receiver(answers(OK)) as receiver:
        url = f"http://hooks.example.com:{receiver.port}/"
        assert send(url, NAMES, resolve=rebinding).outcome == "delivered"
        assert asked == ["hooks.example.com"]
        attempt = send(url, NAMES, resolve=rebinding)
    assert attempt.outcome == "blocked"
    assert "169.254.169.254" in attempt.error
    assert receiver.connections == 1


def test_the_last_fence_connects_addresses_and_never_resolves_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unreachable_resolver)
    with untouched() as port:
        for host in ("localhost", "localhost.", "127.1", "0x7f000001", "", "127.0.0.1 "):
            with pytest.raises(ValueError, match="does not appear"):
                asyncio.run(dial([host], port))
            with pytest.raises(ValueError, match="does not appear"):
                asyncio.run(dial(["127.0.0.1", host], port))


@pytest.mark.allow_hosts(["127.0.0.1", "192.0.2.1", "3fff::1"])
def test_own_addresses_are_known() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.1")
    assert not is_own("3fff::1")  # even where there is no route for IPv6


def test_a_public_address_of_this_machine_is_blocked() -> None:
    """Own public addresses need a network of their own to be tested in."""
    program = """
from standart.webhooks.sender import Delivery, send_all
from standart.webhooks.addresses import UrlRules
deliveries = [
    Delivery(url="https://93.184.216.34/", headers={}, body=b""),
    Delivery(url="https://example.com/", headers={}, body=b""),
]
for attempt in send_all(deliveries, UrlRules(), resolve=lambda host: ["93.184.216.34"]):
    print(attempt.outcome, attempt.error)
"""
    script = 'ip link set lo up && ip address add 93.184.216.34/32 dev lo && exec "$0" -c "$1"'
    try:
        done = subprocess.run(
            ["unshare", "--map-root-user", "--net", "sh", "-c", script, sys.executable, program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
        )
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if done.returncode != 0 and "Traceback" not in done.stderr:
        pytest.skip(f"this system gives us no network of our own: {done.stderr.strip()}")
    expected = "blocked the address 93.184.216.34 is this machine's own"
    assert done.stdout.splitlines() == [expected, expected], done.stderr


def test_a_name_that_does_not_resolve_is_a_dns_failure() -> None:
    missing = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    attempt = send("https://nowhere.example/", PUBLIC, resolve=raising(missing))
    assert (attempt.outcome, attempt.status_code) == ("dns", None)
    assert "not known" in attempt.error
    for resolve in (raising(TimeoutError("slow")), raising(UnicodeError("x")), lambda host: []):
        assert send("https://nowhere.example/", PUBLIC, resolve=resolve).outcome == "dns"


def test_a_slow_look_up_ends_at_the_deadline_and_holds_nobody_up() -> None:
    release = threading.Event()

    def slow(host: str) -> list[str]:
        release.wait()
        return ["8.8.8.8"]

    with Receiver(answers(OK)) as receiver:
        attempts = send_all(
            [delivery("https://slow.example/"), delivery(receiver.url)] * 3,
            LOOPBACK,
            deadline=3.0,
            resolve=slow,
        )
    lookups = [thread for thread in threading.enumerate() if thread.name == "webhook-lookup"]
    assert len(lookups) == 1  # asked once for the batch, and nobody waits for it
    release.set()
    lookups[0].join()
    assert [attempt.outcome for attempt in attempts] == ["timeout", "delivered"] * 3


def test_one_waiters_deadline_does_not_end_the_look_up_of_the_others() -> None:
    release = threading.Event()

    def slow(host: str) -> list[str]:
        release.wait()
        return ["8.8.8.8"]

    async def wait_twice() -> list[str]:
        lookups = Lookups(slow)
        patient = asyncio.create_task(lookups.addresses("slow.example"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lookups.addresses("slow.example"), 0.01)
        release.set()
        return await patient

    assert asyncio.run(wait_twice()) == ["8.8.8.8"]


def test_a_resolver_that_breaks_is_that_attempts_failure_alone() -> None:
    with Receiver(answers(OK)) as receiver:
        attempts = send_all(
            [delivery("https://broken.example/"), delivery(receiver.url)],
            LOOPBACK,
            resolve=raising(ZeroDivisionError()),
        )
    assert [attempt.outcome for attempt in attempts] == ["protocol", "delivered"]
    assert "ZeroDivisionError" in attempts[0].error


def test_the_systems_resolver_gives_each_address_once() -> None:
    assert system_addresses("127.0.0.1") == ["127.0.0.1"]
    assert set(system_addresses("localhost")) & {"127.0.0.1", "::1"}


CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


def twice(url: str) -> Callable[[Sender], Coroutine[Any, Any, list[Attempt]]]:
    async def work(sender: Sender) -> list[Attempt]:
        return [await sender.send(delivery(url)) for _ in range(2)]

    return work


def test_a_name_that_means_something_else_at_the_next_connection_is_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies = [["127.0.0.1"], ["169.254.169.254"]]
    with Receiver(answers(CLOSING), keeps=True) as receiver:

        async def work(sender: Sender) -> list[Attempt]:
            sender._lookups = Lookups(lambda host: replies.pop(0), remembered=0.0)
            first = await sender.send(delivery(url))
            await until(lambda: not sender._lookups._asked)
            return [first, await sender.send(delivery(url))]

        url = f"http://hooks.example.com:{receiver.port}/"
        attempts = sending(work, NAMES)
    assert [attempt.outcome for attempt in attempts] == ["delivered", "blocked"]
    assert "169.254.169.254" in attempts[1].error
    assert receiver.connections == 1


def test_a_name_is_remembered_for_a_moment_and_checked_all_the_same() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with Receiver(answers(CLOSING), keeps=True) as receiver:
        url = f"http://hooks.example.com:{receiver.port}/"
        attempts = sending(twice(url), NAMES, resolve=resolve)
        blocked = sending(twice(url), ELSEWHERE, resolve=resolve)
    assert [attempt.outcome for attempt in attempts] == ["delivered"] * 2
    assert [attempt.outcome for attempt in blocked] == ["blocked"] * 2
    assert len(asked) == 2  # once for each sender
    assert receiver.connections == 2


def test_that_a_name_does_not_resolve_is_remembered_for_a_moment_too() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        raise OSError("no such name")

    attempts = sending(twice("https://nowhere.example/"), PUBLIC, resolve=resolve)
    assert [attempt.outcome for attempt in attempts] == ["dns", "dns"]
    assert len(asked) == 1


# Several addresses


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2"])
def test_an_address_where_nothing_answers_does_not_use_up_the_deadline() -> None:
    with Receiver(answers(OK)) as receiver, ExitStack() as stack:
        # A full queue drops what knocks, as a black hole does.
        hole = stack.enter_context(socket.create_server(("127.0.0.2", receiver.port), backlog=0))
        stack.enter_context(socket.create_connection(hole.getsockname()))
        url = f"http://hooks.example.com:{receiver.port}/"
        attempt = send(url, NAMES, resolve=lambda host: ["127.0.0.2", "127.0.0.1"])
        assert own_connections({receiver.port}) == [("127.0.0.2", receiver.port)]
    assert attempt.outcome == "delivered"
    assert attempt.timing.connect_ms is not None
    assert attempt.timing.connect_ms >= round(STAGGER * 1000) - 1


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
def test_a_refused_address_is_followed_by_the_next_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialing, "STAGGER", 1000.0)
    with Receiver(answers(OK)) as receiver:
        url = f"http://hooks.example.com:{receiver.port}/"
        addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
        attempt = send(url, NAMES, resolve=lambda host: addresses)
        refused = send(url, NAMES, resolve=lambda host: addresses[:2])
    assert attempt.outcome == "delivered"
    assert (refused.outcome, refused.error) == (
        "refused",
        "the connection failed: Connection refused",
    )


def test_both_families_take_turns() -> None:
    assert dialing._in_turn(["::1", "::2", "::3", "10.0.0.1"]) == [
        "::1",
        "10.0.0.1",
        "::2",
        "::3",
    ]
    assert dialing._in_turn(["10.0.0.1", "10.0.0.2", "::1"]) == ["10.0.0.1", "::1", "10.0.0.2"]
