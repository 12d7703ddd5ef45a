"""Background work: thin Celery tasks over the services.

Redis is a hint. Each task asks the database what is due, so a lost, doubled or late
message changes nothing; two beats or ten workers are harmless.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import celery
from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down
from flask import Flask
from sqlalchemy import Connection

from standart import anchoring, delivery
from standart.anchoring import AnchorFailed
from standart.clock import monotonic
from standart.config import Settings
from standart.delivery import Deliverer, deliverer
from standart.documents.statement import Anchor
from standart.errors import Unavailable
from standart.extensions import (
    in_transaction,
    init_database,
    make_celery,
    nudge,
    on_connection,
    settings_of,
)
from standart.extensions import settings as current_settings
from standart.services import (
    chain,
    heartbeat_service,
    idempotency_service,
    ledger_service,
    login_service,
    retention_service,
    seal_service,
    session_service,
    span_replay_service,
    sums_service,
    transaction_service,
)
from standart.services.span_replay_service import Step

log = logging.getLogger(__name__)

EXPIRY_BATCH = 500
PURGE_BATCH = 1000
FOLD_BATCH = 5000
REPLAY_BATCH = 500

DELIVERY_SWEEP_SECONDS = 5
REPLAY_SWEEP_SECONDS = 5
FOLD_SECONDS = 10
SUM_SECONDS = 10
PURGE_SECONDS = 600
BUDGET_SECONDS = 30
"""A purge or a replay ends after this time; the next beat goes on where it stopped."""
NUDGE_SECONDS = 0.05

# Which head this process has left at which place.
_anchored: dict[str, Anchor] = {}

# Those of this process; a signal of Celery comes without an app.
_deliverers: weakref.WeakSet[Deliverer] = weakref.WeakSet()


@shared_task(name="standart.expire")
def expire() -> int:
    """End overdue transactions until none is left; return how many."""
    ended = _until_done(
        lambda connection: transaction_service.expire_overdue(connection, batch=EXPIRY_BATCH),
        EXPIRY_BATCH,
    )
    on_connection(lambda connection: heartbeat_service.beat(connection, "sweep"))
    if ended:
        log.info("expired %d overdue transactions", ended)
        nudge()
    return ended


@shared_task(name="standart.deliver")
def deliver() -> int:
    """Send due webhooks until none is left, or pass the rest on; return how many were tried.

    Where another thread of this process is at it, that one is told that there is more.
    """
    tried, _ = deliverer().run(pass_on=nudge)
    return tried


def deliver_now() -> int:
    """Send what is due by hand, all of it; return how many were tried."""
    total, more = 0, True
    while more:
        tried, more = deliverer().run(linger=0)
        total += tried
    return total


@shared_task(name="standart.replay")
def replay() -> int:
    """Go on with the replays of spans for a while; return how many events were examined.

    Each batch is a transaction of its own that holds its replay, so workers share the work.
    """
    examined, go_on = 0, _budget()
    while go_on() and (step := on_connection(_replay_step)) is not None:
        examined += step.examined
        if step.requeued:
            nudge()
    return examined


def _replay_step(connection: Connection) -> Step | None:
    return span_replay_service.step(connection, batch=REPLAY_BATCH)


@shared_task(name="standart.fold")
def fold() -> int:
    """Fold balance deltas into their accounts until none is left; return how many."""
    return _until_done(
        lambda connection: ledger_service.fold_deltas(connection, batch=FOLD_BATCH), FOLD_BATCH
    )


@shared_task(name="standart.sum")
def sum_up() -> int:
    """Sum what has become final since the last run; return how many moments were counted."""
    go_on = _budget()
    return on_connection(lambda connection: sums_service.keep(connection, go_on=go_on))


@shared_task(name="standart.purge")
def purge() -> int:
    """Forget kept answers, failed logins, logins that count no more, and old events.

    Returns how many; what a while does not suffice for is left to the next run.
    """
    go_on = _budget()
    lifetime = current_settings().session_lifetime_seconds
    answers = _until_done(
        lambda connection: idempotency_service.purge(connection, batch=PURGE_BATCH),
        PURGE_BATCH,
        go_on,
    )
    logins = in_transaction(
        lambda session: (
            login_service.purge(session)
            + session_service.purge_sessions(session, lifetime_seconds=lifetime)
        )
    )
    days = current_settings().webhook_retention_days
    events = on_connection(
        lambda connection: retention_service.purge(connection, days=days, go_on=go_on)
    )
    on_connection(sums_service.forget)
    on_connection(lambda connection: heartbeat_service.beat(connection, "purge"))
    if events:
        log.info("purged %d events older than %d days", events, days)
    return answers + logins + events


@shared_task(name="standart.seal")
def seal() -> int:
    """Seal what has been posted and leave the chain's head outside; return how many journals."""
    try:
        sealed = on_connection(seal_service.seal)
    except Unavailable:
        log.info("somebody has been posting for long; the next sweep seals")
        return 0
    on_connection(lambda connection: heartbeat_service.beat(connection, "seal"))
    on_connection(leave_anchor)
    return sealed


def leave_anchor(connection: Connection) -> None:
    """Leave the head of the chain at the place that the settings name; a failure is logged."""
    place = current_settings().seal_anchor
    head = chain.last(connection)
    if place is None or head is None or _anchored.get(place) == head.anchor:
        return
    try:
        anchoring.leave(place, head, lambda number: chain.links_after(connection, number))
    except AnchorFailed as error:
        log.error("the chain's head could not be left outside: %s", error)
        return
    _anchored[place] = head.anchor
    heartbeat_service.beat(connection, "anchor")


def _budget() -> Callable[[], bool]:
    """Return what says yes until the time of a task is up or its worker is told to end."""
    deadline, engine_here = monotonic() + BUDGET_SECONDS, deliverer()
    return lambda: not engine_here.stopped and monotonic() < deadline


def _until_done(
    step: Callable[[Connection], int], batch: int, go_on: Callable[[], bool] = lambda: True
) -> int:
    total = 0
    while go_on():
        done = on_connection(step)
        total += done
        if done < batch:
            break
    return total


def schedule(expiry_sweep_seconds: int, seal_seconds: int) -> dict[str, dict[str, Any]]:
    """Return beat's timetable; periods are in seconds."""
    periods = {
        "standart.expire": expiry_sweep_seconds,
        "standart.deliver": DELIVERY_SWEEP_SECONDS,
        "standart.replay": REPLAY_SWEEP_SECONDS,
        "standart.fold": FOLD_SECONDS,
        "standart.seal": seal_seconds,
        "standart.sum": SUM_SECONDS,
        "standart.purge": PURGE_SECONDS,
    }
    # No message has an expiry: it would be judged by the worker's clock, and two hosts whose
    # clocks differ would then never sweep at all.
    return {task: {"task": task, "schedule": period} for task, period in periods.items()}


class Nudge:
    """Wakes the worker after a commit, from a thread of its own.

    A request never waits for Redis: it sets a flag, and one message serves all that were
    set meanwhile. Losing it costs no more than one period of the sweep.
    """

    def __init__(self, queue: celery.Celery, task: str = "standart.deliver") -> None:
        """``queue`` is the app whose broker gets the message, ``task`` what it asks for."""
        self._queue = queue
        self._task = task
        self._wanted = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self.failures = 0

    def __call__(self) -> None:
        """Ask for a run of the task soon; returns at once."""
        if self._thread is None:
            with self._start:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="nudge", daemon=True)
                    self._thread.start()
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self._queue.send_task(self._task)
            except Exception as error:  # whatever the broker does, the sweep finds the work
                self.failures += 1
                log.warning("could not wake the worker: %s", type(error).__name__)
            # Waiting here makes one message of a burst.
            threading.Event().wait(NUDGE_SECONDS)


def init_app(app: Flask) -> None:
    """Give ``app`` its nudge and Celery its timetable."""
    queue: celery.Celery = app.extensions["celery"]
    configured = settings_of(app)
    queue.conf.beat_schedule = schedule(configured.expiry_sweep_seconds, configured.seal_seconds)
    app.extensions["standart.nudge"] = Nudge(queue)
    app.extensions["standart.replay_nudge"] = Nudge(queue, "standart.replay")
    _deliverers.add(delivery.init_app(app))


@worker_ready.connect
def sweep_at_start(**_: object) -> None:
    """Look for what became due while no worker ran, instead of waiting for beat's first round."""
    expire.delay()
    deliver.delay()


@worker_shutting_down.connect
def stop_delivering(**_: object) -> None:
    """Claim nothing more when the worker is told to end: it waits for what is under way."""
    for each in _deliverers:
        each.stop()


def worker_app(settings: Settings | None = None) -> Flask:
    """Return the app of ``standart worker`` and ``standart beat``: database and tasks only.

    Raises:
        ConfigurationError: a setting is missing or makes no sense.
    """
    from kombu.transport import redis as redis_transport

    # Handing back what is not acknowledged, while the broker is away, ends the whole worker
    # by an AttributeError inside kombu. Nothing is lost without it: the database is asked.
    redis_transport.Channel.do_restore = False
    app = Flask("standart", static_folder=None)
    init_database(app, settings or Settings.from_env())
    make_celery(app)
    init_app(app)
    return app


def __getattr__(name: str) -> celery.Celery:
    """Make the Celery app when ``celery -A standart.tasks worker`` asks for it."""
    if name not in ("app", "celery"):
        raise AttributeError(name)
    made: celery.Celery = worker_app().extensions["celery"]
    return made
