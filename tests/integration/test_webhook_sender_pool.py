"""Connections that are kept: when they are used again, replaced, left and closed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from standart.webhooks import loops
from standart.webhooks.connections import Connection
from standart.webhooks.dialing import dial
from standart.webhooks.exchange import Answer, Meter
from standart.webhooks.pool import PoolLimits
from standart.webhooks.sender import Attempt, Delivery, Sender
from tests.integration.webhook_receivers import (
    NAMES,
    OK,
    Handler,
    Receiver,
    answers,
    delivery,
    hangs,
    own_connections,
    plain_port,
    sending,
    server_tls,
    until,
)

Run = Callable[..., Any]
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=[asyncio.run, loops.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Either event loop."""
    chosen: Run = request.param
    return chosen


def one_by_one(url: str, times: int) -> Callable[[Sender], Any]:
    async def work(sender: Sender) -> list[Attempt]:
        return [await sender.send(delivery(url)) for _ in range(times)]

    return work


def in_turn(*handlers: Handler) -> Handler:
    """Give each request, over all connections, the next handler."""
    left = list(handlers)

    def handler(connection: socket.socket, stop: threading.Event) -> None:
        left.pop(0)(connection, stop)

    return handler


def leaves(connection: socket.socket, stop: threading.Event) -> None:
    """Close a kept connection without a word."""
    raise OSError("the receiver leaves")


# What is kept


def test_many_sends_need_one_connection(run: Run) -> None:
    with Receiver(answers(OK), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 20), run=run)
    assert {attempt.outcome for attempt in attempts} == {"delivered"}
    assert [attempt.reused for attempt in attempts] == [False] + [True] * 19
    assert receiver.connections == 1
    assert len(receiver.requests) == 20
    assert len(set(receiver.requests)) == 1


def test_a_secured_connection_is_kept_too(
    run: Run, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    context = server_tls(authority.issue_cert("127.0.0.1"))
    with Receiver(answers(OK), context, keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 5), tls=trusting, run=run)
    assert [attempt.reused for attempt in attempts] == [False] + [True] * 4
    assert {attempt.outcome for attempt in attempts} == {"delivered"}
    assert receiver.connections == 1


def test_a_connection_serves_only_the_place_that_it_was_made_for() -> None:
    with Receiver(answers(OK), keeps=True) as one, Receiver(answers(OK), keeps=True) as two:

        async def work(sender: Sender) -> list[Attempt]:
            urls = [one.url, two.url, one.url, one.url.replace("127.0.0.1", "localhost")]
            return [await sender.send(delivery(url)) for url in urls]

        attempts = sending(work)
    assert [attempt.reused for attempt in attempts] == [False, False, True, False]
    assert (one.connections, two.connections) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [
        CLOSING,
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: foo, CLOSE\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        OK + b"more",
        OK + OK,
        OK + b"H",
    ],
    ids=["close", "1.0", "close among others", "upgrade", "more", "second answer", "a letter"],
)
def test_what_must_not_be_used_again_is_closed_by_us(run: Run, answer: bytes) -> None:
    with Receiver(answers(answer), keeps=True) as receiver:

        async def work(sender: Sender) -> list[Attempt]:
            attempts = await one_by_one(receiver.url, 2)(sender)
            await until(lambda: not own_connections({receiver.port}))
            return list(attempts)

        attempts = sending(work, run=run)
    assert [attempt.reused for attempt in attempts] == [False, False]
    assert receiver.connections == 2


def test_http_1_0_may_keep_its_connection_and_say_so() -> None:
    answer = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    with Receiver(answers(answer), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 2))
    assert [attempt.reused for attempt in attempts] == [False, True]
    assert attempts[1].excerpt == "ok"


def test_http_1_0_may_end_its_body_by_the_connection() -> None:
    with Receiver(answers(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nfine")) as receiver:
        [attempt] = sending(one_by_one(receiver.url, 1))
    assert (attempt.outcome, attempt.excerpt, attempt.error) == ("delivered", "fine", "")


# Kept connections that break


def test_a_stale_connection_is_replaced_by_a_fresh_one(run: Run) -> None:
    with Receiver(in_turn(answers(OK), leaves, answers(OK)), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 2), run=run)
    assert [attempt.outcome for attempt in attempts] == ["delivered"] * 2
    assert [attempt.reused for attempt in attempts] == [False, False]
    assert attempts[1].timing.connect_ms is not None
    assert receiver.connections == 2
    assert len(receiver.requests) == 3


def test_it_is_replaced_once_and_not_twice(run: Run) -> None:
    with Receiver(in_turn(answers(OK), leaves, leaves), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 2), run=run)
    assert [attempt.outcome for attempt in attempts] == ["delivered", "protocol"]
    assert receiver.connections == 2


def test_several_stale_connections_are_replaced_by_a_fresh_one_at_once() -> None:
    """Another kept connection would as likely be stale as the first."""
    both = threading.Barrier(2)

    def together(connection: socket.socket, stop: threading.Event) -> None:
        both.wait()
        connection.sendall(OK)

    handler = in_turn(together, together, leaves, answers(OK))
    with Receiver(handler, keeps=True) as receiver:

        async def work(sender: Sender) -> Attempt:
            await asyncio.gather(*(sender.send(delivery(receiver.url)) for _ in range(2)))
            return await sender.send(delivery(receiver.url))

        attempt = sending(work)
    assert (attempt.outcome, attempt.reused) == ("delivered", False)
    assert receiver.connections == 3


def test_one_that_breaks_within_the_answer_is_not_replaced(run: Run) -> None:
    def begins(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 2")
        raise OSError("and leaves")

    with Receiver(in_turn(answers(OK), begins), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 2), run=run)
    assert [attempt.outcome for attempt in attempts] == ["delivered", "protocol"]
    assert attempts[1].reused
    assert receiver.connections == 1


def test_the_fresh_one_shares_the_deadline() -> None:
    with Receiver(in_turn(answers(OK), leaves, hangs), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 2), deadline=3.0)
    assert [attempt.outcome for attempt in attempts] == ["delivered", "timeout"]


def test_a_connection_that_the_receiver_closes_is_struck_off(run: Run) -> None:
    with Receiver(answers(OK)) as receiver:

        async def work(sender: Sender) -> int:
            assert (await sender.send(delivery(receiver.url))).outcome == "delivered"
            await until(lambda: not own_connections({receiver.port}))
            return len(sender._pool)

        assert sending(work, run=run) == 0


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_receiver_that_speaks_unasked_is_left(
    run: Run, secure: bool, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    resting = threading.Event()

    def intrudes(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(OK)
        resting.wait()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")

    context = server_tls(authority.issue_cert("127.0.0.1")) if secure else None
    with Receiver(in_turn(intrudes, answers(OK)), context, keeps=True) as receiver:

        async def work(sender: Sender) -> Attempt:
            await sender.send(delivery(receiver.url))
            assert len(sender._pool) == 1
            resting.set()
            await until(lambda: len(sender._pool) == 0)
            return await sender.send(delivery(receiver.url))

        attempt = sending(work, tls=trusting, run=run)
    assert (attempt.outcome, attempt.excerpt, attempt.reused) == ("delivered", "ok", False)
    assert receiver.connections == 2


# Limits


def at_once(*receivers: Receiver, times: int) -> Callable[[Sender], Any]:
    async def work(sender: Sender) -> list[Attempt]:
        deliveries = [delivery(each.url) for each in receivers] * times
        return await asyncio.gather(*map(sender.send, deliveries))

    return work


def together(parties: int) -> Handler:
    """Answer when so many connections are there."""
    barrier = threading.Barrier(parties)

    def handler(connection: socket.socket, stop: threading.Event) -> None:
        barrier.wait()
        connection.sendall(OK)

    return handler


def test_only_so_many_connections_to_one_place_rest(run: Run) -> None:
    with Receiver(together(5), keeps=True) as receiver:

        async def work(sender: Sender) -> int:
            await at_once(receiver, times=5)(sender)
            await until(lambda: len(own_connections({receiver.port})) == 2)
            return len(sender._pool)

        assert sending(work, limits=PoolLimits(per_place=2), run=run) == 2
    assert receiver.connections == 5


def test_only_so_many_connections_rest_in_all_and_the_oldest_goes_first() -> None:
    with (
        Receiver(answers(OK), keeps=True) as one,
        Receiver(answers(OK), keeps=True) as two,
        Receiver(answers(OK), keeps=True) as three,
    ):

        async def work(sender: Sender) -> list[tuple[str, int]]:
            for receiver in (one, two, three):
                await sender.send(delivery(receiver.url))
            ports = {one.port, two.port, three.port}
            await until(lambda: len(own_connections(ports)) == 2)
            return own_connections(ports)

        rested = sending(work, limits=PoolLimits(total=2))
    assert {port for _, port in rested} == {two.port, three.port}


def test_a_connection_rests_for_a_while_only(run: Run) -> None:
    with Receiver(answers(OK), keeps=True) as receiver:

        async def work(sender: Sender) -> Attempt:
            await sender.send(delivery(receiver.url))
            await until(lambda: not own_connections({receiver.port}))
            assert len(sender._pool) == 0
            return await sender.send(delivery(receiver.url))

        assert not sending(work, limits=PoolLimits(idle=0.02), run=run).reused
    assert receiver.connections == 2


def test_a_busy_connection_does_not_grow_old() -> None:
    with Receiver(answers(OK), keeps=True) as receiver:
        attempts = sending(one_by_one(receiver.url, 3), limits=PoolLimits(lifetime=0.0))
    assert [attempt.reused for attempt in attempts] == [False] * 3


# Bodies


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_large_body_is_sent_whole(
    run: Run, secure: bool, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    body = bytes(range(256)) * 20_000
    context = server_tls(authority.issue_cert("127.0.0.1")) if secure else None
    with Receiver(answers(OK), context, keeps=True) as receiver:
        large = Delivery(url=receiver.url, headers={}, body=body)

        async def work(sender: Sender) -> list[Attempt]:
            return [await sender.send(large) for _ in range(2)]

        attempts = sending(work, tls=trusting, run=run)
    assert [attempt.reused for attempt in attempts] == [False, True]
    assert [request.partition(b"\r\n\r\n")[2] == body for request in receiver.requests] == [
        True
    ] * 2


@pytest.mark.parametrize("then", [hangs, lambda connection, stop: None], ids=["stays", "closes"])
def test_an_answer_before_the_body_is_read_counts(run: Run, then: Handler) -> None:
    """It closes with bytes unread, so that the kernel resets what we still write."""

    def refuses(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        then(connection, stop)

    body = b"x" * 20_000_000
    for _ in range(10):
        with plain_port(refuses) as port:
            url = f"http://127.0.0.1:{port}/"

            async def work(sender: Sender, url: str = url) -> tuple[Attempt, int]:
                attempt = await sender.send(Delivery(url=url, headers={}, body=body))
                return attempt, len(sender._pool)

            attempt, resting = sending(work, run=run)
        assert (attempt.outcome, attempt.excerpt, attempt.error) == ("http_413", "no", "")
        assert resting == 0


def test_what_lies_unread_when_writing_fails_is_still_heard() -> None:
    """The race of the test before, without luck: the loop learns of the failure first."""

    async def work() -> Answer:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = await dial(["127.0.0.1"], listener.getsockname()[1])
            lost: list[Connection] = []
            connection = Connection(sock, id, lost.append)
            await connection.open()
            peer, _ = listener.accept()
            with peer:
                answer = Answer()
                post = asyncio.create_task(connection.post(b"x", answer, Meter(1000)))
                await asyncio.sleep(0)
                peer.sendall(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
                connection.connection_lost(BrokenPipeError())
                await post
                connection.abort()
                await until(lambda: len(lost) == 2)
        return answer

    assert asyncio.run(work()).status == 413


# Ends


def test_leaving_closes_what_rests(run: Run) -> None:
    with Receiver(together(5), keeps=True) as receiver:
        sending(at_once(receiver, times=5), run=run)
        assert own_connections({receiver.port}) == []


@pytest.mark.parametrize("phase", ["look-up", "connect", "handshake", "answer", "body"])
def test_cancelling_leaves_no_socket_open(run: Run, phase: str) -> None:
    arrived = threading.Event()
    release = threading.Event()

    def waits(connection: socket.socket, stop: threading.Event) -> None:
        if phase == "body":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        arrived.set()
        stop.wait()

    def resolve(host: str) -> list[str]:
        arrived.set()
        release.wait()
        return ["8.8.8.8"]

    def full(listener: socket.socket) -> socket.socket:
        waiting = socket.socket()
        waiting.connect(listener.getsockname())
        arrived.set()
        return waiting

    with (
        plain_port(waits) as port,
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        full(listener) if phase == "connect" else socket.socket(),
    ):
        crowded = listener.getsockname()[1]
        url = {
            "look-up": "https://slow.example/",
            "connect": f"http://127.0.0.1:{crowded}/",
            "handshake": f"https://127.0.0.1:{port}/",
        }.get(phase, f"http://127.0.0.1:{port}/")

        async def work(sender: Sender) -> None:
            task = asyncio.create_task(sender.send(delivery(url)))
            await until(arrived.is_set)
            if phase == "connect":
                await until(lambda: connecting(crowded))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not own_connections({port}))
            await until(lambda: not connecting(crowded))
            assert not sender._open

        sending(work, resolve=resolve, run=run)
        release.set()
        if phase in ("look-up", "connect"):  # plain_port waits for its one connection
            with socket.create_connection(("127.0.0.1", port)) as last:
                last.sendall(b"x")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_cancelling_at_any_moment_leaves_no_socket_open(
    run: Run, secure: bool, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    context = server_tls(authority.issue_cert("hooks.example.com")) if secure else None
    with Receiver(answers(OK), context, keeps=True) as receiver:
        url = f"{'https' if secure else 'http'}://hooks.example.com:{receiver.port}/"

        async def stop_early(sender: Sender) -> None:
            for rounds in range(40):
                task = asyncio.create_task(sender.send(delivery(url)))
                for _ in range(rounds):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                sender._pool.close()
                await until(lambda: not own_connections({receiver.port}))
                assert not sender._open

        sending(
            stop_early,
            NAMES,
            resolve=lambda host: ["127.0.0.1", "127.0.0.1"],
            tls=trusting,
            run=run,
        )


def connecting(port: int) -> bool:
    """Say whether a SYN to this port is unanswered: state 02 in the kernel's table."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(
        line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "02" for line in lines
    )


def test_two_senders_in_two_threads_know_nothing_of_each_other(run: Run) -> None:
    with Receiver(answers(OK), keeps=True) as receiver:
        results: list[list[Attempt]] = []

        def work() -> None:
            results.append(sending(one_by_one(receiver.url, 50), run=run))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(attempts) for attempts in results] == [50, 50]
    assert {attempt.outcome for attempts in results for attempt in attempts} == {"delivered"}
    assert receiver.connections == 2


def test_a_thousand_at_once(run: Run) -> None:
    with Receiver(answers(OK), keeps=True) as receiver:

        async def work(sender: Sender) -> list[Attempt]:
            slots = asyncio.Semaphore(200)

            async def one() -> Attempt:
                async with slots:
                    return await sender.send(delivery(receiver.url))

            return await asyncio.gather(*(one() for _ in range(1000)))

        attempts = sending(work, run=run)
    assert {attempt.outcome for attempt in attempts} == {"delivered"}
    assert receiver.connections <= 200
    assert len(receiver.requests) == 1000
