"""Logs and metrics: one line a record, never a secret, with the id of the work it belongs to.

Redaction sits in the formatters, the last place that every text passes: messages, extra
fields and exceptions of libraries included.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from types import MappingProxyType, TracebackType
from typing import TextIO
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from standart.errors import ConfigurationError

MASK = "********"

_TELLING_WORD = r"(?:passw(?:or)?d|secret|api_?key|token|cookie|encryption_keys)\w*"

# Each pattern keeps its first group, so that a reader sees what was taken out.
_SECRET_TEXTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(\bsk_[a-z]{1,16}_)[A-Za-z0-9]+",
        r"(\bwhsec_)[A-Za-z0-9+/=_-]+",
        r"(\bv1,)[A-Za-z0-9+/]{16,}={0,2}",
        r"(\b(?:bearer|basic)\s+)[^\s'\",;]+",
        r"(\bauthorization['\"]?\s*[:=]\s*['\"]?(?!bearer\b|basic\b))[^'\"\r\n]+",
        r"(://[^\s/:@'\"]*:)[^\s/'\"]+(?=@)",
        rf"({_TELLING_WORD}\s*=\s*['\"]?)[^\s'\",;&)}}\]]+",
        rf"({_TELLING_WORD}['\"]\s*:\s*['\"])[^'\"]+",
    )
)
_SECRET_NAMES = re.compile(
    r"password|passwd|secret|authorization|api_?key|token|cookie|signature|encryption", re.I
)
_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FRAMES_SHOWN = 6

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


@contextmanager
def bind(**ids: str) -> Iterator[None]:
    """Put ids such as ``request_id`` or ``task_id`` on every log line of this block.

    Blocks nest, and each thread and asyncio task has its own.
    """
    token = _bound.set({**_bound.get(), **ids})
    try:
        yield
    finally:
        _bound.reset(token)


def bound() -> Mapping[str, str]:
    """Return the ids that log lines carry here and now."""
    return _bound.get()


def redact(text: str) -> str:
    """Return ``text`` without keys, webhook secrets and signatures, and passwords."""
    for pattern in _SECRET_TEXTS:
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def masked(name: str, value: object) -> object:
    """Return ``value`` fit for JSON and for people, without what is secret in it or by its name."""
    return _clean(name, value)


def configure_logging(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Send all records of at least ``level`` to ``stream`` (standard error by default).

    ``log_format`` is ``text``, ``json`` or ``auto``: text on a terminal, JSON elsewhere.
    Calling it again replaces the former handler.
    """
    target = sys.stderr if stream is None else stream
    as_text = log_format == "text" or (log_format == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # What Alembic says of its plug-ins is no news to those who run the service.
    logging.getLogger("alembic").setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, ids, extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; escaping keeps foreign line breaks inside it."""
        line: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
            **_fields_of(record),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = redact("".join(traceback.format_exception(*record.exc_info)))
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """One readable line: ``time level logger: message key=value``, exceptions in short."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line with everything unprintable escaped, terminal controls too."""
        head = f"{_time_of(record)} {record.levelname:<7} {record.name}: "
        parts = [redact(record.getMessage())]
        parts += [f"{name}={value}" for name, value in _fields_of(record).items()]
        if record.exc_info and record.exc_info[1]:
            parts.append(redact(_in_short(record.exc_info[1], record.exc_info[2])))
        return head + _printable(" ".join(parts))


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    extra = {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
    return {name: _clean(name, value) for name, value in {**bound(), **extra}.items()}


def _clean(name: str, value: object) -> object:
    """Return ``value`` fit for JSON, masked where its name alone gives it away."""
    if _SECRET_NAMES.search(name):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean("", item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return redact(str(value))


def _in_short(error: BaseException, trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-_FRAMES_SHOWN:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    summary = "".join(traceback.format_exception_only(error)).strip()
    return f"[{summary}]" + "".join(f" < {place}" for place in reversed(places))


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


REGISTRY = CollectorRegistry()
"""The metrics of this process; several processes share them by PROMETHEUS_MULTIPROC_DIR."""

HTTP_REQUESTS = Counter(
    "standart_http_requests",
    "HTTP requests answered, by method, route (never the raw path) and status.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "standart_http_request_seconds",
    "Seconds from a request's arrival to its answer, by route.",
    ("route",),
    registry=REGISTRY,
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WEBHOOK_ATTEMPTS = Counter(
    "standart_webhook_attempts",
    "Tries to deliver a webhook, by outcome and lane: normal, or slow while only probed.",
    ("outcome", "lane"),
    registry=REGISTRY,
)
WEBHOOK_LATENCY = Histogram(
    "standart_webhook_latency_seconds",
    "Seconds from an event's commit to the receiver's first 2xx, by lane and tries (one, more).",
    ("lane", "tries"),
    registry=REGISTRY,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 15, 60, 600, 3600, 21_600, 86_400),
)


Reading = Mapping[str, float | Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a gauge means, and what tells its values apart if it has several."""

    help: str
    label: str = ""


class GaugeReader(Collector):
    """Gauges that are read from elsewhere at each scrape, such as lags in the database."""

    def __init__(self, gauges: Mapping[str, Gauge], read: Callable[[], Reading]):
        """``read`` returns by the gauges' names a value each, or values by their label."""
        self._gauges = gauges
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return the gauges without values, so that registering reads nothing."""
        return [self._family(name) for name in self._gauges]

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; none where reading fails, as the other metrics still count."""
        try:
            values = self._read()
        except Exception:
            logging.getLogger(__name__).exception("reading gauges failed")
            return []
        return [self._filled(name, value) for name, value in values.items()]

    def _family(self, name: str) -> GaugeMetricFamily:
        gauge = self._gauges[name]
        return GaugeMetricFamily(name, gauge.help, labels=[gauge.label] if gauge.label else None)

    def _filled(self, name: str, value: float | Mapping[str, float]) -> GaugeMetricFamily:
        family = self._family(name)
        if isinstance(value, Mapping):
            for label, one in value.items():
                family.add_metric([label], one)
        else:
            family.add_metric([], value)
        return family


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """A running endpoint for Prometheus on the loopback interface."""

    server: WSGIServer
    thread: Thread

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.server_port

    def close(self) -> None:
        """Stop listening and wait for the thread to end."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def start_metrics_server(
    port: int,
    collectors: Iterable[Collector] = (),
    *,
    variable: str = "STANDART_METRICS_PORT",
) -> MetricsServer:
    """Serve the metrics of all processes on ``127.0.0.1:port`` (0: any free port).

    Raises:
        ConfigurationError: the port cannot be had; it names ``variable``.
    """
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    else:
        registry.register(_Whole())
    for collector in collectors:
        registry.register(collector)
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ConfigurationError(
            variable,
            f"port {port} cannot be had ({error.strerror})",
            "Choose a free one, or 0 for none",
        ) from None
    return MetricsServer(server, thread)


class _Whole(Collector):
    """Everything this process counts, as a part of a server's own registry."""

    def collect(self) -> Iterable[Metric]:
        return REGISTRY.collect()
