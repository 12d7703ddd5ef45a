"""Sends webhooks: one POST each, many at once, each within one deadline.

No database here: the caller claims deliveries, commits, sends them and records what came back.
Proxies, netrc and cookies of the environment do not matter, redirects are not followed, and
answers are not decompressed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from types import TracebackType

from standart.webhooks import loops
from standart.webhooks.addresses import Target, UrlRules, parse_url
from standart.webhooks.connections import Closed, Connection
from standart.webhooks.deadlines import Deadlines
from standart.webhooks.dialing import dial
from standart.webhooks.exchange import Answer, Meter, request_bytes, request_line
from standart.webhooks.lookups import Lookups, Resolve, approved_addresses, system_addresses
from standart.webhooks.outcomes import (
    clean_text,
    failure_of,
    kept_headers,
    outcome_of,
    retry_after_seconds,
)
from standart.webhooks.pool import Place, Pool, PoolLimits
from standart.webhooks.tls import verified_tls

CONCURRENCY = 100
"""Deliveries that ``send_all`` has under way; a batch of at most this many ends by one deadline."""

DEADLINE = 15.0
"""Seconds for one attempt in all: look-up, connect, TLS, request and answer."""

READ_LIMIT = 64 * 1024
"""Bytes that one attempt receives in all, TLS, headers and interim answers included."""

_DESTINATIONS = 4096  # URLs whose parts are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What to send where; the headers hold the signature and the user agent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the phases of an attempt took, each by itself, in milliseconds.

    None where a phase did not happen or did not end: a reused connection has neither look-up nor
    connect nor TLS, and an IP literal has no look-up. ``first_byte_ms`` runs from the start of the
    request on this connection to the first byte of any answer.
    """

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one delivery.

    ``outcome`` is ``delivered`` (any 2xx), ``http_<status>``, ``timeout``, ``dns``, ``tls``,
    ``blocked``, ``too_large``, ``refused`` or ``protocol``. Once status and headers are in, they
    decide: a body that is too long, too slow or broken off only adds a note to ``error``.
    ``excerpt`` is the start of the body, decoded as UTF-8 with replacements, and as untrusted as
    any input, as are ``response_headers`` (lower-case names, at most 4 KiB); ``retry_after`` is in
    seconds, from a 429 or 503 only; ``reused`` says whether the connection was a kept one;
    ``error`` is for people.
    """

    outcome: str
    status_code: int | None
    excerpt: str
    retry_after: int | None
    duration_ms: int
    error: str
    timing: Timing = Timing()
    response_headers: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False


class _Course:
    """How far an attempt has come; it stays when the deadline ends the rest."""

    __slots__ = ("answer", "connect", "dns", "meter", "posted_at", "reused", "tls")

    def __init__(self) -> None:
        self.answer = Answer()
        self.meter = Meter(READ_LIMIT)
        self.reused = False
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self.posted_at: float | None = None

    def timing(self) -> Timing:
        first = None
        if self.answer.first_byte_at is not None and self.posted_at is not None:
            first = self.answer.first_byte_at - self.posted_at
        return _timing(_ms(self.dns), _ms(self.connect), _ms(self.tls), _ms(first))


@lru_cache(maxsize=1024)
def _timing(dns: int | None, connect: int | None, tls: int | None, first: int | None) -> Timing:
    """Return a timing; those of kept connections are few, and so made once."""
    return Timing(dns_ms=dns, connect_ms=connect, tls_ms=tls, first_byte_ms=first)


class Sender:
    """Sends deliveries over kept connections; an async context manager on one event loop.

    How many are under way at once is the caller's business; each has ``deadline`` seconds in all.
    A host is looked up and checked for every new connection; ``resolve`` and ``tls`` replace the
    system's resolver and authorities. All calls of ``send`` must have ended, or be cancelled,
    before the context is left: it closes every connection.
    """

    def __init__(
        self,
        rules: UrlRules,
        *,
        deadline: float = DEADLINE,
        resolve: Resolve = system_addresses,
        tls: ssl.SSLContext | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        self._rules = rules
        self._deadline = deadline
        self._resolve = resolve
        self._tls = tls or verified_tls()
        self._limits = limits or PoolLimits()
        # A URL comes again and again, and taking it apart costs as much as a send.
        self._destination = lru_cache(maxsize=_DESTINATIONS)(partial(_destination, rules))
        self._open: set[Connection] = set()
        self._all_closed: asyncio.Event | None = None

    async def __aenter__(self) -> Sender:
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(self._limits)
        self._lookups = Lookups(self._resolve)
        self._deadlines = Deadlines(self._deadline)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lookups.close()
        self._deadlines.close()
        self._pool.close()
        for connection in self._open:
            connection.abort()
        if self._open:
            self._all_closed = asyncio.Event()
            await self._all_closed.wait()

    async def send(self, delivery: Delivery) -> Attempt:
        """Post one delivery and return what came of it.

        A receiver's fault never raises: it is the attempt's outcome. Cancelling closes the
        attempt's connection.
        """
        course = _Course()
        outcome = error = ""
        started = self._loop.time()
        deadline = self._deadlines.start()
        try:
            await self._exchange(delivery, course)
        except asyncio.CancelledError:
            if not deadline.was_the_only_reason():
                raise
            outcome, error = failure_of(TimeoutError(), self._deadline)
        except Exception as exc:
            # Caught whatever it is: one odd receiver must not end what serves all the others.
            outcome, error = failure_of(exc, self._deadline)
        finally:
            self._deadlines.end(deadline)
        return _attempt(course, outcome, error, self._loop.time() - started)

    async def _exchange(self, delivery: Delivery, course: _Course) -> None:
        """Post over a kept connection or a new one; ``course`` is filled as things come in."""
        target, place, first = self._destination(delivery.url)
        request = request_bytes(first, delivery.headers, delivery.body)
        kept = self._pool.take(place)
        if kept is not None:
            course.reused = True
            try:
                await self._post(kept, place, request, course)
            except Closed:
                # The peer may have closed it just now, without having seen the request. Sending
                # it again is safe where that is wrong too: receivers know a message by its id.
                if course.answer.first_byte_at is not None:
                    raise
                course.reused = False
            else:
                return
        connection = await self._connect(target, course)
        await self._post(connection, place, request, course)

    async def _post(
        self, connection: Connection, place: Place, request: bytes, course: _Course
    ) -> None:
        course.posted_at = self._loop.time()
        try:
            await connection.post(request, course.answer, course.meter)
        except BaseException:  # cancellation included: half an exchange is no use to anybody
            connection.abort()
            raise
        if course.answer.reusable:
            self._pool.give(place, connection)
        else:
            connection.abort()

    async def _connect(self, target: Target, course: _Course) -> Connection:
        """Look up, check, connect and secure a new connection."""
        clock = self._loop.time
        started = clock()
        addresses = await approved_addresses(target, self._rules, self._lookups)
        if target.address is None:
            course.dns = clock() - started
        started = clock()
        sock = await dial(addresses, target.port)
        connection = Connection(sock, self._open.add, self._lost)
        await connection.open()
        course.connect = clock() - started
        if target.scheme == "https":
            started = clock()
            try:
                await connection.secure(self._tls, target.host, course.meter)
            except BaseException:  # cancellation included
                connection.abort()
                raise
            course.tls = clock() - started
        return connection

    def _lost(self, connection: Connection) -> None:
        self._pool.forget(connection)
        self._open.discard(connection)
        if not self._open and self._all_closed is not None:
            self._all_closed.set()


def send_all(
    deliveries: Sequence[Delivery],
    rules: UrlRules,
    *,
    deadline: float = DEADLINE,
    resolve: Resolve = system_addresses,
    tls: ssl.SSLContext | None = None,
) -> list[Attempt]:
    """Post every delivery at once and return what came of each, in the same order.

    ``deadline`` is in seconds for each attempt in all; up to CONCURRENCY deliveries are under way
    together, so a batch of that size ends by one deadline, and a larger one takes turns. A
    receiver's fault never raises: it is the attempt's outcome. Runs an event loop of its own, and
    so must not be called from one (RuntimeError); nothing is kept between calls but the default
    TLS settings, which makes it safe after a fork and in threads. ``resolve`` and ``tls`` replace
    the system's resolver and authorities.
    """
    if not deliveries:
        return []

    async def run() -> list[Attempt]:
        slots = asyncio.Semaphore(CONCURRENCY)
        async with Sender(rules, deadline=deadline, resolve=resolve, tls=tls) as sender:

            async def one(delivery: Delivery) -> Attempt:
                async with slots:
                    return await sender.send(delivery)

            return await asyncio.gather(*map(one, deliveries))

    return loops.run(run())


def _destination(rules: UrlRules, url: str) -> tuple[Target, Place, str]:
    """Return what a URL means: its parts, whose connections serve it, and its request line."""
    target = parse_url(url, rules)
    return target, (target.scheme, target.host, target.port), request_line(target)


def _attempt(course: _Course, outcome: str, error: str, duration: float) -> Attempt:
    answer = course.answer
    if answer.status is not None:
        outcome = outcome_of(answer.status)
        error = error and f"the answer's body is not complete: {error}"
    return Attempt(
        outcome=outcome,
        status_code=answer.status,
        excerpt=clean_text(bytes(answer.body)),
        retry_after=_retry_after(answer),
        duration_ms=round(duration * 1000),
        error=error,
        timing=course.timing(),
        response_headers={} if answer.status is None else kept_headers(answer.fields),
        reused=course.reused,
    )


def _retry_after(answer: Answer) -> int | None:
    if answer.status not in (429, 503):
        return None
    return retry_after_seconds(answer.status, answer.field(b"retry-after"), datetime.now(UTC))


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
