"""The long-running parts: `serve`, `worker`, `beat`; and `deliver`, a worker's sweep by hand."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from standart import serving
from standart.errors import ConfigurationError, DomainError

if TYPE_CHECKING:
    import celery

    from standart.config import Settings

log = logging.getLogger(__name__)

# Webhooks wait for the network and sweeps for the database: threads suffice, and cost a
# third of the memory of processes.
WORKER_THREADS = 4

# One line for each message that was sent or received says nothing that metrics don't.
CHATTY = (
    "celery.app.trace",
    "celery.beat",
    "celery.worker.consumer.connection",
    "celery.worker.strategy",
    "kombu",
)


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port."
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that serve.",
)
def serve(host: str, port: int, workers: int) -> None:
    """Serve API and panel over HTTP."""
    from standart.config import Settings

    with _one_line_errors():
        settings = Settings.from_env()
        _add_trusted_host(host, settings)
        options = serving.Options(host, port, workers, settings.log_format, settings.log_level)
        if settings.metrics_port is None:
            serving.become(options)
        # This process has a thread of its own then, which no forked worker must inherit half.
        multiprocessing.set_start_method("spawn")
        with _metrics(settings.metrics_port, settings):
            _set_up_logging(settings)
            serving.run(options)


@click.command
@click.option("--beat", "with_beat", is_flag=True, help="Send the timetable's tasks as well.")
@click.option(
    "--concurrency",
    default=WORKER_THREADS,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Tasks that run at the same time.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Loopback port of this worker's metrics, 0 for none; by default the setting's.",
)
def worker(with_beat: bool, concurrency: int, metrics_port: int | None) -> None:
    """Run background tasks: expiry, webhooks, folding, purging."""
    with _one_line_errors():
        settings = _settings()
        port = settings.worker_metrics_port if metrics_port is None else metrics_port or None
        with _worker_metrics(port, settings):
            _run_worker(settings, with_beat=with_beat, concurrency=concurrency)


def _run_worker(settings: Settings, *, with_beat: bool, concurrency: int) -> NoReturn:
    queue = _queue(settings)
    running = queue.Worker(
        pool="threads",
        concurrency=concurrency,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    if with_beat:
        threading.Thread(target=_embedded_beat, args=(queue,), name="beat", daemon=True).start()
    _spare_the_collector()
    running.start()
    sys.exit(running.exitcode)


def _spare_the_collector() -> None:
    """Let the garbage collector look at what lives for ever once, and at the rest less often.

    Hundreds of attempts under way are many objects that are no garbage; going through them
    at the usual thresholds was a fifth of the processor time of a delivery.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@click.command
def beat() -> None:
    """Send the timetable's tasks to the workers; two of it are harmless."""
    with _one_line_errors():
        service = _beat(_queue(_settings()))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        service.start()


@click.command
def deliver() -> None:
    """Send the webhooks that are due, now instead of at the next sweep."""
    from standart import tasks

    with _one_line_errors():
        with tasks.worker_app(_settings()).app_context():
            total = tasks.deliver_now()
        click.echo(f"tried {total}")


def _settings() -> Settings:
    from standart.config import Settings

    settings = Settings.from_env()
    _set_up_logging(settings)
    return settings


def _set_up_logging(settings: Settings) -> None:
    from standart.observability import configure_logging

    configure_logging(settings.log_format, settings.log_level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn a refusal into one line on standard error: exit 2 for settings, else 1."""
    try:
        yield
    except DomainError as error:
        click.echo(f"Error: {error.detail}", err=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)


def _add_trusted_host(host: str, settings: Settings) -> None:
    """Let the server's processes answer requests for the very address it listens on."""
    if host not in settings.trusted_hosts:
        hosts = ",".join([*settings.trusted_hosts, host])
        os.environ.pop("STANDART_TRUSTED_HOSTS_FILE", None)
        os.environ["STANDART_TRUSTED_HOSTS"] = hosts


@contextmanager
def _metrics(port: int, settings: Settings) -> Iterator[None]:
    """Serve the metrics of all processes of this server while the block runs."""
    with tempfile.TemporaryDirectory(prefix="standart-metrics-") as folder:
        # Read by the library when it is loaded, so nothing may load it before this line. Under
        # `standart up` all of the tree count in one folder, and this port shows them all.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        from standart.observability import start_metrics_server

        server = start_metrics_server(port, [_gauges(settings)])
        try:
            yield
        finally:
            server.close()


@contextmanager
def _worker_metrics(port: int | None, settings: Settings) -> Iterator[None]:
    """Serve the metrics of this worker while the block runs, if there is a port for them."""
    if port is None:
        yield
        return
    from standart.observability import start_metrics_server

    server = start_metrics_server(
        port, [_gauges(settings)], variable="STANDART_WORKER_METRICS_PORT"
    )
    try:
        yield
    finally:
        server.close()


def _gauges(settings: Settings) -> Any:
    """Return the gauges that tell whether the background parts keep up."""
    from standart.db import autocommit, make_engine
    from standart.observability import GaugeReader
    from standart.services.gauges import GAUGES, read

    engine = make_engine(settings.database_url, pool_size=1)

    def read_all() -> Any:
        with autocommit(engine) as connection:
            return read(connection, settings.webhook_retention_days)

    return GaugeReader(GAUGES, read_all)


def _queue(settings: Settings) -> celery.Celery:
    """Return the Celery app with our logging instead of its own."""
    from celery import signals

    from standart import tasks

    signals.setup_logging.connect(_leave_logging_alone)
    signals.worker_ready.connect(_stop_in_our_words)
    # Its tasks are JSON and ours: being root is no danger to them.
    warnings.filterwarnings("ignore", message="(?s).*superuser privileges")
    queue: celery.Celery = tasks.worker_app(settings).extensions["celery"]
    return queue


def _leave_logging_alone(**about: object) -> None:
    """Being connected is all: Celery then sets nothing up."""


def _stop_in_our_words(**about: object) -> None:
    """Replace Celery's handlers, which print to the terminal in a form of their own.

    As theirs, the first signal lets running tasks end; repeating it changes nothing.
    """
    from celery import signals
    from celery.worker import state

    def stop(number: int, frame: object) -> None:
        state.should_stop = 0  # type: ignore[assignment]  # None or an exit code, says Celery
        signals.worker_shutting_down.send(sender=None)
        log.info("stopping; running tasks may end")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _beat(queue: celery.Celery) -> Any:
    """Return a beat without a file: what is due is known by the database, not by beat."""
    from celery.beat import Scheduler, Service

    return Service(queue, scheduler_cls=Scheduler)


def _embedded_beat(queue: celery.Celery) -> None:
    """Run beat in a thread; without it nothing is swept, so its end is the worker's."""
    try:
        _beat(queue).start()
    except Exception:
        log.exception("beat failed")
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(number: int, frame: object) -> None:
    sys.exit(0)
