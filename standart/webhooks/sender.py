"""Sends webhooks: one POST each, many at once, each within one deadline.

No database here: the caller claims deliveries, commits, calls ``send_all`` and records what came
back. Proxies, netrc and cookies of the environment do not matter, redirects are not followed, and
answers are not decompressed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from standart.webhooks.addresses import Target, UrlRules, parse_url
from standart.webhooks.connections import (
    CheckedConnector,
    Lookups,
    Meter,
    Resolve,
    TooLarge,
    approved_addresses,
    system_addresses,
    verified_tls,
)
from standart.webhooks.outcomes import clean_text, failure_of, outcome_of, retry_after_seconds

CONCURRENCY = 100
"""How many deliveries are under way at once; a batch of at most this many ends by one deadline."""

DEADLINE = 15.0
"""Seconds for one attempt in all: look-up, connect, TLS, request and answer."""

READ_LIMIT = 64 * 1024
"""Bytes that one attempt reads in all, TLS and headers included."""

EXCERPT_LIMIT = 4 * 1024
"""Bytes of the answer's body that are kept."""

_DEFAULT_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What to send where; the headers hold the signature and the user agent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one delivery.

    ``outcome`` is ``delivered`` (any 2xx), ``http_<status>``, ``timeout``, ``dns``, ``tls``,
    ``blocked``, ``too_large``, ``refused`` or ``protocol``. Once status and headers are in, they
    decide: a body that is too long, too slow or broken off only adds a note to ``error``.
    ``excerpt`` is the start of the body, decoded as UTF-8 with replacements, and as untrusted as
    any input; ``retry_after`` is in seconds, from a 429 or 503 only; ``error`` is for people.
    """

    outcome: str
    status_code: int | None
    excerpt: str
    retry_after: int | None
    duration_ms: int
    error: str
    timing: Timing = field(default_factory=lambda: Timing())
    response_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None


class Sender:
    def __init__(self, rules: UrlRules, *, deadline: float = DEADLINE) -> None:
        self._batch = _Batch(rules, deadline, system_addresses, verified_tls())

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def send(self, delivery: Delivery) -> Attempt:
        return await self._batch._attempt(delivery)


@dataclass(slots=True)
class _Answer:
    """What has come in so far; it is kept when the deadline ends the rest."""

    status: int | None = None
    retry_after: int | None = None
    body: bytearray = field(default_factory=bytearray)


class _Batch:
    """What the deliveries of one call share."""

    def __init__(
        self, rules: UrlRules, deadline: float, resolve: Resolve, tls: ssl.SSLContext
    ) -> None:
        self._rules = rules
        self._deadline = deadline
        self._lookups = Lookups(resolve)
        self._tls = tls
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def send(self, deliveries: Sequence[Delivery]) -> list[Attempt]:
        """Send all, and return the attempts in the same order."""
        return await asyncio.gather(*map(self._attempt, deliveries))

    async def _attempt(self, delivery: Delivery) -> Attempt:
        clock = asyncio.get_running_loop().time
        answer, meter = _Answer(), Meter(READ_LIMIT)
        outcome = error = ""
        async with self._slots:
            started = clock()
            try:
                async with asyncio.timeout(self._deadline):
                    await self._exchange(delivery, answer, meter)
            except Exception as exc:
                # Caught whatever it is: one odd receiver must not take the results of the
                # whole batch along.
                outcome, error = failure_of(exc, meter, self._deadline)
            duration = clock() - started
        if answer.status is not None:
            outcome = outcome_of(answer.status)
            error = error and f"the answer's body is not complete: {error}"
        return Attempt(
            outcome=outcome,
            status_code=answer.status,
            excerpt=clean_text(bytes(answer.body)),
            retry_after=answer.retry_after,
            duration_ms=round(duration * 1000),
            error=error,
        )

    async def _exchange(self, delivery: Delivery, answer: _Answer, meter: Meter) -> None:
        """Check, connect, post and read; ``answer`` is filled as things come in."""
        target = parse_url(delivery.url, self._rules)
        addresses = await approved_addresses(target, self._rules, self._lookups)
        async with (
            _session(CheckedConnector(addresses, meter, self._tls)) as session,
            session.post(
                _url(target), data=delivery.body, headers=delivery.headers, allow_redirects=False
            ) as response,
        ):
            answer.retry_after = retry_after_seconds(
                response.status, response.headers.get("Retry-After"), datetime.now(UTC)
            )
            answer.status = response.status
            async for chunk in response.content.iter_any():
                answer.body += chunk[: EXCERPT_LIMIT - len(answer.body)]
        if meter.exceeded:
            # A body that ends with its connection looks complete when the meter cut it.
            raise TooLarge


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
        return await _Batch(rules, deadline, resolve, tls or verified_tls()).send(deliveries)

    return asyncio.run(run())


def _session(tcp: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=tcp,
        headers=_DEFAULT_HEADERS,
        skip_auto_headers=["User-Agent"],
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # the deadline around it holds for everything
        trust_env=False,
        auto_decompress=False,
        # The meter bounds all lines together, and makes one outcome of it.
        max_line_size=READ_LIMIT,
        max_field_size=READ_LIMIT,
        max_headers=READ_LIMIT,
    )


def _url(target: Target) -> URL:
    """Build the request's URL from the parts that were checked; nothing is parsed again."""
    path, _, query = target.path.partition("?")
    return URL.build(
        scheme=target.scheme,
        host=f"[{target.host}]" if ":" in target.host else target.host,
        port=target.port,
        path=path,
        query_string=query,
        encoded=True,
    )
