"""The HTTP server and all its options: granian in WSGI mode.

Its main process only holds the socket and restarts workers, so it loads nothing of the
service: `standart serve` checks the settings and then becomes this program.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from flask import Flask

# A thread waits while the database commits, so a process needs several to keep busy; more
# gain nothing under one interpreter lock and would queue for connections of the pool, which
# has as many by default (docs/benchmarks.md has the measurement).
THREADS = 8
BACKLOG = 1024

# A body has at most 64 KiB; what is larger is not held for a client that sends slowly.
HEADER_READ_MILLISECONDS = 10_000
HTTP1_BUFFER_BYTES = 128 * 1024

# Seconds; a request ends long before, by the time-outs of its statements.
WORKER_STOP_SECONDS = 15

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen, with how many processes, and how to log."""

    host: str
    port: int
    workers: int
    log_format: str
    log_level: str


def become(options: Options) -> NoReturn:
    """Replace this process by one that only serves."""
    program = [sys.executable, "-P", "-m", "standart.serving", json.dumps(asdict(options))]
    os.execv(program[0], program)  # noqa: S606 - our own program, no shell


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    server = Granian(
        target="standart.serving:application",
        factory=True,
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        workers=options.workers,
        blocking_threads=THREADS,
        backlog=BACKLOG,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_READ_MILLISECONDS, max_buffer_size=HTTP1_BUFFER_BYTES
        ),
        respawn_failed_workers=True,
        workers_kill_timeout=WORKER_STOP_SECONDS,
        log_level=LogLevels.debug if options.log_level == "DEBUG" else LogLevels.warning,
        # Its records go the way of all others, in our format.
        log_dictconfig={
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {},
            "handlers": {},
            "loggers": {"_granian": {"handlers": [], "propagate": True}},
        },
    )
    server.serve()


def _is_news(record: logging.LogRecord) -> bool:
    """Drop granian's advice about the number of threads: ours is measured."""
    return "Python threads" not in record.getMessage()


def _signal_pipe() -> int:
    """Return a file descriptor that is readable from the first signal on.

    The server installs its handlers later and tells the app nothing; Python itself writes here
    whenever any of them is called.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def application() -> Flask:
    """Return the app inside a worker process."""
    from standart.api.event_feed import ENDING
    from standart.app import create_app
    from standart.config import Settings
    from standart.observability import configure_logging

    settings = Settings.from_env()
    configure_logging(settings.log_format, settings.log_level)
    logging.getLogger("_granian").addFilter(_is_news)
    if sys.platform == "linux":
        # A worker whose main process was killed would keep the port.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    app = create_app(settings)
    app.extensions[ENDING] = _signal_pipe()
    # What is loaded now stays: the collector need not walk it at every turn.
    gc.collect()
    gc.freeze()
    return app


if __name__ == "__main__":
    from standart.observability import configure_logging

    given_options = Options(**json.loads(sys.argv[1]))
    configure_logging(given_options.log_format, given_options.log_level)
    logging.getLogger("_granian").addFilter(_is_news)
    run(given_options)
