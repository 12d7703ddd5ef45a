"""The delivery engine of one process: the window of attempts, bound to database and settings.

Claiming happens in one thread at a time, however many tasks ask for it: the others wake it.
It ends after a while, so that no task runs for ever; the next one then claims while the last
attempts of the former are still under way.
"""

from __future__ import annotations

import logging
import math
import mmap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, cast

from flask import Flask, current_app

from standart.db import autocommit, is_transient
from standart.extensions import engine, keyring, on_connection, settings
from standart.observability import WEBHOOK_ATTEMPTS, WEBHOOK_LATENCY
from standart.services import heartbeat_service, webhook_service
from standart.services.backlog_service import LANES, SLOW
from standart.services.webhook_work import AttemptResult, ClaimedDelivery
from standart.webhooks import loops, sender
from standart.webhooks.addresses import UrlRules
from standart.webhooks.window import LINGER_SECONDS, Claimed, Window

log = logging.getLogger(__name__)

RUN_SECONDS: Final = 30.0
"""For how long one task goes on claiming."""

BEAT_SECONDS: Final = 5.0
MASK: Final = "***"

Result = TypeVar("Result")
Pair = tuple[ClaimedDelivery, AttemptResult]


class Deliverer:
    """The one engine of a process; its methods may be called from any thread."""

    def __init__(self, app: Flask) -> None:
        """``app`` is the one with the database and the settings to deliver by."""
        self._app = app
        self._lock = threading.Lock()
        self._windows: set[Window[ClaimedDelivery, AttemptResult]] = set()
        self._claiming: Window[ClaimedDelivery, AttemptResult] | None = None
        self._wanted = False
        # Shared with processes that are forked later: only the parent hears of the end.
        self._stopped = mmap.mmap(-1, 1)

    def run(
        self, *, linger: float = LINGER_SECONDS, pass_on: Callable[[], object] = lambda: None
    ) -> tuple[int, bool]:
        """Send what is due until nothing is, for at most ``RUN_SECONDS`` and the last attempts.

        Returns how many attempts were made, and whether more may be due; ``pass_on`` is called
        as soon as that is known, while the last attempts are still under way. Where another
        thread claims already, wakes that one and returns (0, False).

        Raises:
            DBAPIError: nothing could be claimed, and nothing was under way.
        """
        more = False
        started = time.monotonic()

        def claim(most: int) -> Claimed[ClaimedDelivery]:
            with self._lock:
                self._wanted = False  # whoever asks from here on may have come too late for it
            return round_.claim(most)

        def claimed_all() -> None:
            nonlocal more
            with self._lock:
                self._claiming = None
                more = self._wanted or time.monotonic() - started >= RUN_SECONDS
                self._wanted = False
            if more:
                pass_on()

        with self._lock:
            if self._claiming is not None:
                self._wanted = True
                self._claiming.wake()
                return 0, False
            round_ = _Round(self._app)
            window = self._claiming = Window(
                claim=claim,
                attempt=round_.attempt,
                record=round_.record,
                executor=round_.threads,
                seconds=RUN_SECONDS,
                claimed_all=claimed_all,
                stopping=lambda: self.stopped,
                linger=linger,
            )
            self._windows.add(window)
        try:
            tried = loops.run(round_.run(window))
        finally:
            with self._lock:
                self._windows.discard(window)
                # It is still there if the window could not even be opened.
                if self._claiming is window:
                    self._claiming = None
        return tried, more and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether this process, or the one it was forked from, was told to end."""
        return self._stopped[0] != 0

    def stop(self) -> None:
        """Claim nothing more, for good, here and in forked processes; the rest is finished.

        Takes no lock: a signal may come while this very thread holds it.
        """
        self._stopped[0] = 1
        for window in tuple(self._windows):
            window.wake()


class _Round:
    """What one run of the engine needs: a sender, two threads, and where the claim goes on."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        with app.app_context():
            self._rules = url_rules()
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="webhooks")
        self._cursor = webhook_service.BEGINNING
        self._next_at = math.inf
        self._beaten_at = -math.inf
        self._sender: sender.Sender | None = None

    async def run(self, window: Window[ClaimedDelivery, AttemptResult]) -> int:
        """Run ``window`` with an open sender; return how many attempts were made."""
        try:
            async with sender.Sender(self._rules) as self._sender:
                return await window.run()
        finally:
            self.threads.shutdown()

    def claim(self, most: int) -> Claimed[ClaimedDelivery]:
        """Claim up to ``most`` deliveries; also the sign of life of the delivering part."""
        return self._in_app(lambda: self._claim(most))

    def _claim(self, most: int) -> Claimed[ClaimedDelivery]:
        if time.monotonic() - self._beaten_at >= BEAT_SECONDS:
            on_connection(lambda connection: heartbeat_service.beat(connection, "delivery"))
            self._beaten_at = time.monotonic()
        ring = keyring()
        if self._cursor == webhook_service.BEGINNING:
            self._next_at = math.inf
        with autocommit(engine()) as connection:
            claim = webhook_service.claim_due(connection, ring, batch=most, after=self._cursor)
        self._cursor = claim.cursor
        now = time.monotonic()
        # What will be due next is known only once all endpoints have been looked at.
        if claim.soonest is not None:
            self._next_at = min(self._next_at, now + claim.soonest)
        if claim.full:
            return Claimed(claim.deliveries, 0)
        return Claimed(claim.deliveries, None if self._next_at == math.inf else self._next_at - now)

    async def attempt(self, delivery: ClaimedDelivery) -> AttemptResult:
        """Send one delivery; what its receiver does is the result, never an error."""
        assert self._sender is not None
        try:
            headers = delivery.headers()
        except ValueError as error:
            return _unsigned(delivery, delivery.receiver.problem or str(error))
        sent = await self._sender.send(
            sender.Delivery(url=delivery.receiver.url, headers=headers, body=delivery.body)
        )
        shown = {**headers, **dict.fromkeys(delivery.receiver.extra_headers, MASK)}
        return AttemptResult(
            outcome=sent.outcome,
            status_code=sent.status_code,
            excerpt=sent.excerpt,
            error=sent.error,
            duration_ms=sent.duration_ms,
            retry_after=sent.retry_after,
            request_headers=shown,
            response_headers=sent.response_headers,
            dns_ms=sent.timing.dns_ms,
            connect_ms=sent.timing.connect_ms,
            tls_ms=sent.timing.tls_ms,
            first_byte_ms=sent.timing.first_byte_ms,
        )

    def record(self, results: Sequence[Pair]) -> None:
        """Write down what came of the attempts."""
        self._in_app(lambda: _record(results))

    def _in_app(self, work: Callable[[], Result]) -> Result:
        with self._app.app_context():
            return work()


def _record(results: Sequence[Pair]) -> None:
    """Write down ``results``, lane by lane: who fails must not spoil the figures of the others."""
    for lane in LANES:
        of_lane = [pair for pair in results if pair[0].receiver.slow == (lane == SLOW)]
        if of_lane:
            _record_lane(lane, of_lane)


def _record_lane(lane: str, results: Sequence[Pair]) -> None:
    """Write down ``results`` together, or one by one where one of them cannot be written."""
    try:
        _write(lane, results)
    except Exception as error:
        if is_transient(error):
            raise
        if len(results) > 1:
            for each in results:
                _record_lane(lane, [each])
        else:
            # Trying that again would only hold up what came in after it.
            log.exception("an attempt of delivery %s cannot be recorded", results[0][0].id)


def _write(lane: str, results: Sequence[Pair]) -> None:
    schedule = settings().webhook_retry_schedule
    latencies = on_connection(
        lambda connection: webhook_service.record_attempts(connection, results, schedule=schedule)
    )
    for _, result in results:
        WEBHOOK_ATTEMPTS.labels(result.outcome, lane).inc()
    for seconds, at_once in latencies:
        WEBHOOK_LATENCY.labels(lane, "one" if at_once else "more").observe(seconds)


def _unsigned(delivery: ClaimedDelivery, problem: str) -> AttemptResult:
    """Return the failure of a delivery that cannot be signed; no fault of its receiver.

    The operator reads the reason in the log; the merchant, who sees the attempt, only the fact.
    """
    log.error("webhooks of user %s cannot be signed: %s", delivery.user_id, problem)
    return AttemptResult(
        outcome=webhook_service.UNSIGNED,
        status_code=None,
        excerpt="",
        error="the message could not be signed; the operator's log says why",
        duration_ms=0,
    )


def url_rules() -> UrlRules:
    """Return where webhooks may go, by the settings of the current app."""
    configured = settings()
    return UrlRules(
        allowed_networks=configured.webhook_allowed_networks,
        allow_http=configured.webhook_allow_http,
    )


def init_app(app: Flask) -> Deliverer:
    """Give ``app`` its deliverer, and return it."""
    made = app.extensions["standart.deliverer"] = Deliverer(app)
    return made


def deliverer() -> Deliverer:
    """Return the deliverer of the current app."""
    return cast("Deliverer", current_app.extensions["standart.deliverer"])
