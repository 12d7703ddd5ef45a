from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from standart import observability
from standart.errors import ConfigurationError
from standart.observability import Gauge, GaugeReader, bind, bound, configure_logging, redact

KEY = "sk_live_0aZ" + "x1Y2" * 10
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw+/=="
SIGNATURE = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
PASSWORD = "pa55-w0rd"
log = logging.getLogger("standart.tests")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Leave the root logger as it was: other tests read it through pytest's handlers."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(params=["json", "text"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    target = io.StringIO()
    configure_logging(request.param, "DEBUG", target)
    return target


@pytest.fixture
def json_stream() -> io.StringIO:
    target = io.StringIO()
    configure_logging("json", "INFO", target)
    return target


@pytest.fixture
def text_stream() -> io.StringIO:
    target = io.StringIO()
    configure_logging("text", "INFO", target)
    return target


def fail(message: str) -> None:
    raise ValueError(message)


def log_failure(message: str) -> None:
    try:
        fail(message)
    except ValueError:
        log.exception("it failed")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} used", KEY),
        (f"Authorization: Bearer {KEY}", KEY),
        (f"{{'Authorization': 'Bearer {PASSWORD}'}}", PASSWORD),
        (f'{{"authorization": "Basic {PASSWORD}"}}', PASSWORD),
        (f"Authorization: Token {PASSWORD}", PASSWORD),
        (f"secret {WEBHOOK_SECRET}", WEBHOOK_SECRET.removeprefix("whsec_")),
        (f"webhook-signature: {SIGNATURE} {SIGNATURE}", SIGNATURE.removeprefix("v1,")),
        (f"postgresql+psycopg://app:{PASSWORD}@db/standart", PASSWORD),
        (f"redis://:{PASSWORD}@/run/v.sock", PASSWORD),
        (f"redis://u:{PASSWORD}@{PASSWORD}@host", PASSWORD),
        (f"host=db password={PASSWORD} dbname=x", PASSWORD),
        (f"password='{PASSWORD}'", PASSWORD),
        (f"name=a&password={PASSWORD}&next=/", PASSWORD),
        (f"{{'password': '{PASSWORD}'}}", PASSWORD),
        (f'{{"webhook_secret": "{PASSWORD}"}}', PASSWORD),
        (f"SECRET_KEY={PASSWORD}", PASSWORD),
        (f"STANDART_ENCRYPTION_KEYS=k1:{PASSWORD}", PASSWORD),
    ],
)
def test_secrets_are_taken_out_everywhere(text: str, secret: str, stream: io.StringIO) -> None:
    assert secret not in redact(text)
    assert observability.MASK in redact(text)
    log.info(text)
    log.info("%s", text)
    log.info("extra", extra={"detail": text, "nested": {"list": [text, (text,)]}})
    log_failure(text)
    with bind(request_id=text):
        log.info("bound")
    assert len(stream.getvalue().splitlines()) == 5
    assert secret not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "SECRET_KEY: is not set",
        "the password is wrong",
        "POST https://shop.example:8443/hook/a@b 200",
        "mail to someone@example.com",
        "transaction 0198f0c2-0000-7000-8000-000000000000 confirmed",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "secret_key", "Authorization", "api_key", "token", "cookie"],
)
def test_fields_with_a_telling_name_are_masked(name: str, stream: io.StringIO) -> None:
    log.info("extra", extra={name: PASSWORD, "headers": {name: PASSWORD}})
    assert PASSWORD not in stream.getvalue()
    assert stream.getvalue().count(observability.MASK) == 2


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\x1b[31m"])
def test_a_record_stays_one_line(separator: str, stream: io.StringIO) -> None:
    log.info("first%slevel=error forged", separator)
    log.info("second", extra={"field": f"a{separator}b"})
    log_failure(f"third{separator}")
    with bind(request_id=f"x{separator}y"):
        log.info("fourth")
    assert stream.getvalue().count("\n") == 4
    assert len(stream.getvalue().splitlines()) == 4
    assert "\x1b" not in stream.getvalue()


def test_lone_surrogates_and_russian_words_can_be_written(tmp_path: Path) -> None:
    for log_format in ("json", "text"):
        with (tmp_path / log_format).open("w", encoding="utf-8") as target:
            configure_logging(log_format, "INFO", target)
            log.info("Оплата \ud800")
        assert "ud800" in (tmp_path / log_format).read_text(encoding="utf-8")


def test_json_lines_hold_every_part(json_stream: io.StringIO) -> None:
    with bind(request_id="r1"):
        log.warning(
            "sent %d",
            3,
            extra={"seconds": 0.5, "count": 2, "ok": True, "none": None, "nan": float("nan")},
        )
    line = json.loads(json_stream.getvalue(), parse_constant=lambda name: pytest.fail(name))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "standart.tests",
        "message": "sent 3",
        "request_id": "r1",
        "seconds": 0.5,
        "count": 2,
        "ok": True,
        "none": None,
        "nan": "nan",
    }


def test_json_lines_hold_the_whole_traceback(json_stream: io.StringIO) -> None:
    log_failure("of no use")
    exception = json.loads(json_stream.getvalue())["exception"]
    assert exception.startswith("Traceback (most recent call last):")
    assert exception.endswith("ValueError: of no use\n")


def test_text_lines_name_the_error_and_where_it_came_from(text_stream: io.StringIO) -> None:
    with bind(task_id="t1"):
        log_failure("of no use")
    line = text_stream.getvalue()
    assert re.match(r"\S+Z ERROR   standart\.tests: it failed task_id=t1 \[ValueError: ", line)
    assert re.search(
        r"\[ValueError: of no use\] < test_\w+\.py:\d+ fail < test_\w+\.py:\d+ log_failure\n", line
    )


def test_exc_info_without_an_exception_adds_nothing(stream: io.StringIO) -> None:
    log.info("calm", exc_info=(None, None, None))
    assert "exception" not in stream.getvalue()
    assert "[" not in stream.getvalue()


def test_auto_means_text_on_a_terminal_and_json_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for target, is_json in ((io.StringIO(), True), (Terminal(), False)):
        configure_logging("auto", "INFO", target)
        log.info("here")
        assert target.getvalue().startswith("{") is is_json


def test_the_level_holds_and_a_second_call_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("json", "DEBUG", first)
    configure_logging("json", "WARNING", second)
    log.info("quiet")
    log.warning("loud")
    assert first.getvalue() == ""
    assert [json.loads(line)["message"] for line in second.getvalue().splitlines()] == ["loud"]


def test_standard_error_is_the_usual_place(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "INFO")
    log.info("here")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["message"] == "here"


def test_warnings_become_log_lines() -> None:
    # In a process of its own, as pytest replaces the machinery of warnings.
    program = (
        "import warnings; from standart.observability import configure_logging;"
        "configure_logging('json', 'INFO'); warnings.warn('old\\nways', stacklevel=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    line = json.loads(done.stderr)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "old\nways" in line["message"]


def test_ids_nest_and_end_with_their_block() -> None:
    assert bound() == {}
    with bind(request_id="r1"):
        with bind(task_id="t1", request_id="r2"):
            assert bound() == {"request_id": "r2", "task_id": "t1"}
        assert bound() == {"request_id": "r1"}
        with pytest.raises(ValueError, match="inside"), bind(task_id="t2"):
            fail("inside")
        assert bound() == {"request_id": "r1"}
    assert bound() == {}


def test_each_thread_and_task_has_ids_of_its_own() -> None:
    seen: dict[str, Mapping[str, str]] = {}

    async def work(name: str) -> None:
        with bind(task_id=name):
            await asyncio.sleep(0)
            seen[name] = bound()

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    with bind(request_id="r1"):
        thread = Thread(target=lambda: seen.update(thread=bound()))
        thread.start()
        thread.join()
        asyncio.run(both())
    assert seen["thread"] == {}
    assert seen["a"] == {"request_id": "r1", "task_id": "a"}
    assert seen["b"] == {"request_id": "r1", "task_id": "b"}


def scrape(port: int) -> dict[str, float]:
    """Return the samples by name and labels, as Prometheus reads them."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_served_with_gauges_that_are_read_at_each_scrape() -> None:
    lags = {"standart_sweep_lag_seconds": 1.5}
    gauges = GaugeReader(
        {
            "standart_sweep_lag_seconds": Gauge("Age of the oldest."),
            "standart_webhook_due": Gauge("What is due.", "lane"),
        },
        lambda: {**lags, "standart_webhook_due": {"slow": 3, "normal": 4}},
    )
    server = observability.start_metrics_server(0, [gauges])
    try:
        before = scrape(server.port)
        observability.HTTP_REQUESTS.labels("GET", "/balance", "200").inc()
        observability.HTTP_SECONDS.labels("/balance").observe(0.004)
        observability.WEBHOOK_ATTEMPTS.labels("delivered", "slow").inc(2)
        lags["standart_sweep_lag_seconds"] = 2.5
        after = scrape(server.port)
    finally:
        server.close()
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    assert grown["standart_http_requests_total GET /balance 200"] == 1
    assert grown["standart_http_request_seconds_count /balance"] == 1
    assert grown["standart_http_request_seconds_bucket 0.005 /balance"] == 1
    assert grown["standart_http_request_seconds_bucket 0.002 /balance"] == 0
    assert grown["standart_webhook_attempts_total slow delivered"] == 2
    assert after["standart_webhook_due slow"] == 3
    assert after["standart_webhook_due normal"] == 4
    assert grown["standart_sweep_lag_seconds"] == 1
    assert not server.thread.is_alive()


def test_gauges_that_cannot_be_read_leave_the_others(json_stream: io.StringIO) -> None:
    def broken() -> Mapping[str, float]:
        raise OSError(f"no route to postgresql://app:{PASSWORD}@db")

    gauges = GaugeReader({"standart_lost": Gauge("Never seen.")}, broken)
    observability.WEBHOOK_ATTEMPTS.labels("timeout", "normal").inc()
    server = observability.start_metrics_server(0, [gauges])
    try:
        samples = scrape(server.port)
    finally:
        server.close()
    assert "standart_lost" not in samples
    assert samples["standart_webhook_attempts_total normal timeout"] >= 1
    line = json.loads(json_stream.getvalue())
    assert line["message"] == "reading gauges failed"
    assert PASSWORD not in json_stream.getvalue()


def test_metrics_are_for_the_loopback_interface_only() -> None:
    server = observability.start_metrics_server(0)
    try:
        assert server.server.server_address[0] == "127.0.0.1"
    finally:
        server.close()


def test_a_port_in_use_is_refused_with_the_remedy() -> None:
    server = observability.start_metrics_server(0)
    try:
        with pytest.raises(ConfigurationError) as error:
            observability.start_metrics_server(server.port)
    finally:
        server.close()
    assert error.value.variable == "STANDART_METRICS_PORT"
    assert error.value.problem == f"port {server.port} cannot be had (Address already in use)"


def test_several_processes_count_together(tmp_path: Path) -> None:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    count = (
        "from standart import observability as o; o.WEBHOOK_ATTEMPTS.labels('dns', 'normal').inc()"
    )
    serve = (
        f"{count}; import urllib.request as u; s = o.start_metrics_server(0);"
        "print(u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{s.port}').read().decode());"
        "s.close()"
    )
    for program in (count, count):
        subprocess.run([sys.executable, "-c", program], env=environ, check=True)
    done = subprocess.run(
        [sys.executable, "-c", serve], env=environ, check=True, capture_output=True, text=True
    )
    assert 'standart_webhook_attempts_total{lane="normal",outcome="dns"} 3.0' in done.stdout
