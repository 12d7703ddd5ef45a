from __future__ import annotations

import dataclasses
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from kombu import Connection
from sqlalchemy.engine import make_url

from standart.config import (
    SETTINGS,
    Settings,
    default_text,
)
from standart.encryption import generate_key
from standart.errors import ConfigurationError
from standart.setting_kinds import RateLimit
from standart.setting_table import Row, describe, unknown_variables

ROOT = Path(__file__).parents[2]
PASSWORD = "pa55word"
NEEDED = {
    "DATABASE_URL": f"postgresql://app:{PASSWORD}@db.example:5432/standart",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
    "STANDART_ENCRYPTION_KEYS": generate_key(),
}


def settings(**more: str) -> Settings:
    return Settings.from_env(NEEDED | more)


def refusal(environ: dict[str, str]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_env(environ)
    assert "\n" not in str(error.value)
    return error.value


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a data folder, so that only what a test gives is found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_are_those_of_the_contract() -> None:
    found = settings()
    assert found.transaction_ttl_seconds == 900
    assert found.expiry_sweep_seconds == 5
    assert (found.default_currency, found.default_locale) == ("RUB", "ru")
    assert found.webhook_allowed_networks == ()
    assert found.webhook_allow_http is False
    assert found.webhook_retry_schedule == (
        *(5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
    )
    assert found.trusted_hosts == ("localhost", "127.0.0.1", "::1")
    assert (found.metrics_port, found.rate_limit, found.proxy_hops) == (None, None, 0)
    assert found.data_dir == Path(".standart")
    assert found.migration_database_url == found.database_url


def test_settings_are_frozen_and_their_repr_shows_no_secret() -> None:
    found = settings(REDIS_URL=f"redis://:{PASSWORD}@redis.example")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.proxy_hops = 3  # type: ignore[misc]  # that is the point
    for secret in (PASSWORD, NEEDED["SECRET_KEY"], NEEDED["STANDART_ENCRYPTION_KEYS"]):
        assert secret not in repr(found)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_default_reads_back_as_itself(name: str) -> None:
    text = default_text(name)
    if text:
        setting = SETTINGS[name]
        default = next(item.default for item in dataclasses.fields(Settings) if item.name == name)
        assert setting.kind.parse(text) == default


def test_every_field_is_described_under_a_variable_of_its_own() -> None:
    assert list(SETTINGS) == [item.name for item in dataclasses.fields(Settings)]
    variables = [setting.variable for setting in SETTINGS.values()]
    assert len(set(variables)) == len(variables)
    plain = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}
    assert {name for name in variables if not name.startswith("STANDART_")} == plain
    assert all(setting.help.endswith(".") for setting in SETTINGS.values())


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("STANDART_TRANSACTION_TTL_SECONDS", "1", "transaction_ttl_seconds", 1),
        ("STANDART_TRANSACTION_TTL_SECONDS", " 60\n", "transaction_ttl_seconds", 60),
        ("STANDART_EXPIRY_SWEEP_SECONDS", "3600", "expiry_sweep_seconds", 3600),
        ("STANDART_DEFAULT_CURRENCY", "JPY", "default_currency", "JPY"),
        ("STANDART_DEFAULT_LOCALE", "EN", "default_locale", "en"),
        (
            *("STANDART_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8, ::1", "webhook_allowed_networks"),
            (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        ),
        ("STANDART_WEBHOOK_ALLOW_HTTP", "Yes", "webhook_allow_http", True),
        ("STANDART_WEBHOOK_ALLOW_HTTP", "0", "webhook_allow_http", False),
        ("STANDART_WEBHOOK_RETRY_SCHEDULE", "1, 2,3", "webhook_retry_schedule", (1, 2, 3)),
        (
            *(
                "STANDART_TRUSTED_HOSTS",
                "Pay.Example, .example.org,[::1],10.0.0.1",
                "trusted_hosts",
            ),
            ("pay.example", ".example.org", "::1", "10.0.0.1"),
        ),
        ("STANDART_METRICS_PORT", "9100", "metrics_port", 9100),
        ("STANDART_METRICS_PORT", "0", "metrics_port", None),
        ("STANDART_METRICS_PORT", "", "metrics_port", None),
        ("STANDART_RATE_LIMIT", "100/second", "rate_limit", RateLimit(100, 1)),
        ("STANDART_RATE_LIMIT", "5/day", "rate_limit", RateLimit(5, 86400)),
        ("STANDART_RATE_LIMIT", "0", "rate_limit", None),
        ("STANDART_FOUR_EYES_ABOVE", "RUB:100000.00", "four_eyes_above", {"RUB": 10_000_000}),
        (
            *("STANDART_FOUR_EYES_ABOVE", "RUB:0, JPY:1000,KWD:1.005,USD:0.00", "four_eyes_above"),
            {"RUB": 0, "JPY": 1000, "KWD": 1005, "USD": 0},
        ),
        ("STANDART_FOUR_EYES_ABOVE", "", "four_eyes_above", {}),
        ("STANDART_PROXY_HOPS", "2", "proxy_hops", 2),
        ("STANDART_DATA_DIR", "/var/lib/standart", "data_dir", Path("/var/lib/standart")),
        ("STANDART_DATABASE_POOL_SIZE", "100", "database_pool_size", 100),
        ("STANDART_SESSION_IDLE_SECONDS", "60", "session_idle_seconds", 60),
        ("STANDART_SESSION_LIFETIME_SECONDS", "600", "session_lifetime_seconds", 600),
        ("STANDART_API_DOCS", "off", "api_docs", False),
        ("STANDART_LOG_FORMAT", "json", "log_format", "json"),
        ("STANDART_LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ],
)
def test_values_are_read(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(settings(**{variable: text}), field) == value


@pytest.mark.parametrize(
    ("variable", "texts"),
    [
        (
            "STANDART_TRANSACTION_TTL_SECONDS",
            ("0", "-1", "1.5", "1e3", "٣", "31536001", "9" * 5000),
        ),
        ("STANDART_EXPIRY_SWEEP_SECONDS", ("0", "3601", "five", "5s")),
        ("STANDART_DEFAULT_CURRENCY", ("rub", "XXX", "RUR")),
        ("STANDART_DEFAULT_LOCALE", ("de", "ru_RU")),
        (
            "STANDART_FOUR_EYES_ABOVE",
            (
                *("RUB", "RUB:", "100.00", "rub:100.00", "XXX:1", "RUB:-1", "RUB:1.001", "JPY:1.0"),
                *("RUB:1e3", "RUB:100,00", "RUB:1;USD:1", "RUB:1,", "RUB:1,RUB:2", "RUB:١"),
                *("RUB:" + "9" * 5000, "RUB:0." + "0" * 40, "RUB: 1", "RUB:NaN"),
            ),
        ),
        ("STANDART_WEBHOOK_ALLOWED_NETWORKS", ("localhost", "10.0.0.1/8", "127.0.0.0/8,", "/8")),
        ("STANDART_WEBHOOK_ALLOW_HTTP", ("maybe", "2", "tru")),
        ("STANDART_WEBHOOK_RETRY_SCHEDULE", ("5,,6", "0", "5;6", "-5", "2592001")),
        (
            "STANDART_TRUSTED_HOSTS",
            ("*", "http://a.example", "a.example:80", "a,,b", "-a", "[::1]:80"),
        ),
        ("STANDART_METRICS_PORT", ("65536", "-1", "http")),
        ("STANDART_RATE_LIMIT", ("100", "100/s", "0/second", "100/second/x", "1.5/second")),
        ("STANDART_PROXY_HOPS", ("11", "true")),
        ("STANDART_DATA_DIR", ("/dev/null", "~nobody-of-this-name/x", "x" * 300)),
        ("STANDART_DATABASE_POOL_SIZE", ("0", "101")),
        ("STANDART_SESSION_IDLE_SECONDS", ("59", "86401")),
        ("STANDART_SESSION_LIFETIME_SECONDS", ("59", "604801")),
        ("STANDART_API_DOCS", ("none",)),
        ("STANDART_LOG_FORMAT", ("xml",)),
        ("STANDART_LOG_LEVEL", ("LOUD", "10")),
        ("DATABASE_URL", ("x", "mysql://h/d", "sqlite:///x", "postgresql+psycopg2://h/d")),
        ("DATABASE_URL", ("postgresql://u:p@h:port/d", "postgresql://a:1,b:2/d")),
        ("STANDART_MIGRATION_DATABASE_URL", ("mysql://h/d",)),
        ("REDIS_URL", ("x", "http://h", "redis://", "redis://h:99999", "redis://[::1", "unix://")),
        ("SECRET_KEY", ("short", "x" * 64, f"{NEEDED['SECRET_KEY']}\n{NEEDED['SECRET_KEY']}")),
        ("STANDART_ENCRYPTION_KEYS", ("k1:AAAA", "nonsense")),
    ],
)
def test_nonsense_is_refused_with_variable_and_remedy(
    variable: str, texts: tuple[str, ...]
) -> None:
    for text in texts:
        error = refusal(NEEDED | {variable: text})
        assert error.variable == variable, text
        assert error.problem, text
        assert error.remedy.startswith("Set it to "), text


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DATABASE_URL", f"mysql://app:{PASSWORD}@h/d"),
        ("DATABASE_URL", f"postgresql://app:{PASSWORD}@h:x/d"),
        ("REDIS_URL", f"amqp://:{PASSWORD}@h"),
        ("REDIS_URL", f"redis://:{PASSWORD}@h:99999"),
        ("SECRET_KEY", PASSWORD),
        ("STANDART_ENCRYPTION_KEYS", f"k1:{PASSWORD}"),
    ],
)
def test_refusing_a_secret_does_not_show_it(variable: str, text: str) -> None:
    assert PASSWORD not in str(refusal(NEEDED | {variable: text}))


@pytest.mark.parametrize("variable", NEEDED)
def test_what_is_needed_must_be_there(variable: str) -> None:
    for absent in ({}, {variable: ""}, {variable: "  \n"}):
        error = refusal({k: v for k, v in NEEDED.items() if k != variable} | absent)
        assert (error.variable, error.problem) == (variable, "is not set")


def test_secrets_may_be_absent_where_the_caller_says_so() -> None:
    database = {"DATABASE_URL": NEEDED["DATABASE_URL"]}
    found = Settings.from_env(database, require_secrets=False)
    assert (found.secret_key, found.encryption_keys) == ("", "")
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        Settings.from_env(database | {"SECRET_KEY": "short"}, require_secrets=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL: is not set"):
        Settings.from_env({}, require_secrets=False)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_database_urls_name_the_driver(scheme: str) -> None:
    found = settings(
        DATABASE_URL=f"{scheme}://app:p%40s@[::1]:5433/d?sslmode=require",
        STANDART_MIGRATION_DATABASE_URL=f"{scheme}:///d?host=/run/pg",
    )
    assert found.database_url == "postgresql+psycopg://app:p%40s@[::1]:5433/d?sslmode=require"
    url = make_url(found.database_url)
    assert (url.host, url.port, url.password) == ("::1", 5433, "p@s")
    assert make_url(found.migration_database_url).query["host"] == "/run/pg"


def test_several_database_hosts_can_be_named() -> None:
    text = "postgresql://u@/d?host=a:5432&host=b:5432&target_session_attrs=read-write"
    assert make_url(settings(DATABASE_URL=text).database_url).query["host"] == ("a:5432", "b:5432")


@pytest.mark.parametrize(
    ("text", "broker"),
    [
        ("redis://:p%40s@h:6380/3", "redis://:p%40s@h:6380/3"),
        ("rediss://h/0?ssl_cert_reqs=required", "rediss://h/0?ssl_cert_reqs=required"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock"),
        ("unix:///run/v.sock?db=2", "redis+socket:///run/v.sock?virtual_host=2"),
        ("unix://u:p%40s@/run/v.sock?db=2", "redis+socket://u:p%40s@/run/v.sock?virtual_host=2"),
        ("redis+socket:///v.sock?virtual_host=1", "redis+socket:///v.sock?virtual_host=1"),
    ],
)
def test_broker_urls_are_those_of_kombu(text: str, broker: str) -> None:
    assert settings(REDIS_URL=text).broker_url == broker


def test_kombu_finds_the_socket_in_a_broker_url() -> None:
    url = settings(REDIS_URL="unix://:p%40s@/run/v.sock?db=2").broker_url
    connection = Connection(url)
    assert connection.transport_cls == "redis"
    assert connection.hostname == "socket://:p%40s@/run/v.sock?virtual_host=2"


def test_a_value_can_stand_in_a_file(elsewhere: Path) -> None:
    file = elsewhere / "secret"
    file.write_text(NEEDED["SECRET_KEY"] + "\n")
    environ = NEEDED | {"SECRET_KEY": "", "SECRET_KEY_FILE": str(file)}
    assert Settings.from_env(environ).secret_key == NEEDED["SECRET_KEY"]
    assert rows(environ)["SECRET_KEY"].source == str(file)


def test_a_value_and_its_file_at_once_are_refused(elsewhere: Path) -> None:
    error = refusal(NEEDED | {"SECRET_KEY_FILE": str(elsewhere / "none")})
    assert (error.variable, error.problem) == ("SECRET_KEY", "is set, and so is SECRET_KEY_FILE")


def test_a_file_that_cannot_be_read_is_refused(elsewhere: Path) -> None:
    (elsewhere / "empty").write_text(" \n")
    (elsewhere / "binary").write_bytes(b"\xff\xfe\x00")
    for name, problem in {
        "none": "cannot be read (No such file or directory)",
        ".": "cannot be read (Is a directory)",
        "binary": "cannot be read (not UTF-8 text)",
        "empty": "is empty",
    }.items():
        path = elsewhere / name
        error = refusal({"DATABASE_URL_FILE": str(path)})
        assert (error.variable, error.problem) == ("DATABASE_URL_FILE", f"{path} {problem}")


def leave_environment(folder: Path, text: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{name}={value}\n" for name, value in NEEDED.items())
    (folder / "environment").write_text(lines + "REDIS_URL=unix:///run/v.sock?db=0\n#x\n\n")
    if text is not None:
        (folder / "environment").write_text(text)
    return folder / "environment"


def test_a_running_tree_is_found_in_its_data_folder(elsewhere: Path) -> None:
    for folder, environ in {
        ".standart": {},
        "other": {"STANDART_DATA_DIR": str(elsewhere / "other")},
    }.items():
        leave_environment(elsewhere / folder)
        found = Settings.from_env(environ)
        assert found.redis_url == "unix:///run/v.sock?db=0"
        assert found.encryption_keys == NEEDED["STANDART_ENCRYPTION_KEYS"]


def test_the_environment_counts_more_than_a_running_tree(elsewhere: Path) -> None:
    path = leave_environment(elsewhere / ".standart")
    environ = {"REDIS_URL": "redis://own"}
    assert Settings.from_env(environ).redis_url == "redis://own"
    table = rows(environ)
    assert table["REDIS_URL"].source == "environment"
    assert (elsewhere / table["DATABASE_URL"].source) == path


def test_a_running_tree_is_ignored_where_a_database_is_named(elsewhere: Path) -> None:
    leave_environment(elsewhere / ".standart")
    assert refusal({"DATABASE_URL": NEEDED["DATABASE_URL"]}).variable == "SECRET_KEY"
    assert settings().redis_url == "redis://127.0.0.1:6379/0"


def test_nonsense_in_a_running_trees_file_is_refused(elsewhere: Path) -> None:
    path = leave_environment(elsewhere / ".standart", "no lines of ours\nSTANDART_OTHER=1\n")
    assert refusal({}).variable == "DATABASE_URL"
    path.unlink()
    path.mkdir()
    error = refusal({})
    assert error.variable == "STANDART_DATA_DIR"
    assert "Is a directory" in error.problem


def test_a_file_that_cannot_even_be_looked_for_is_refused() -> None:
    # Short enough for the system as a folder, too long with the file's name.
    folder = "/".join(["a" * 200] * 20) + "/" + "a" * 68
    error = refusal({"STANDART_DATA_DIR": folder})
    assert error.variable == "STANDART_DATA_DIR"
    assert "environment cannot be read (File name too long)" in error.problem


def rows(environ: dict[str, str]) -> dict[str, Row]:
    return {row.variable: row for row in describe(environ)}


def test_the_table_masks_secrets_and_names_sources() -> None:
    environ = NEEDED | {
        "REDIS_URL": f"unix://:{PASSWORD}@/run/v.sock?password={PASSWORD}",
        "STANDART_PROXY_HOPS": "many",
        "STANDART_SEAL_ANCHOR": f"https://me:{PASSWORD}@anchor.example/head?token={PASSWORD}",
    }
    table = rows(environ)
    assert table["STANDART_SEAL_ANCHOR"].value == "https://********@anchor.example/head"
    assert table["DATABASE_URL"].value == "postgresql://********@db.example:5432/standart"
    assert table["REDIS_URL"].value == "unix://********@/run/v.sock"
    assert table["SECRET_KEY"].value == table["STANDART_ENCRYPTION_KEYS"].value == "********"
    assert (table["STANDART_PROXY_HOPS"].value, table["STANDART_PROXY_HOPS"].default) == (
        *("many", "0"),
    )
    assert table["STANDART_API_DOCS"].source == "default"
    assert table["STANDART_API_DOCS"].value == "true"
    shown = repr(describe(environ))
    for secret in (PASSWORD, NEEDED["SECRET_KEY"], NEEDED["STANDART_ENCRYPTION_KEYS"]):
        assert secret not in shown


def test_a_secret_that_looks_like_a_url_is_masked_whole() -> None:
    environ = NEEDED | {"SECRET_KEY": f"a://{PASSWORD}", "DATABASE_URL": PASSWORD}
    table = rows(environ)
    assert table["SECRET_KEY"].value == table["DATABASE_URL"].value == "********"


def test_the_table_says_what_is_missing() -> None:
    assert {row.variable for row in describe({}) if row.source == "missing"} == set(NEEDED)
    plain = describe({"REDIS_URL": "redis://h/1?x=1"})
    assert next(row.value for row in plain if row.variable == "REDIS_URL") == "redis://h/1"


def test_the_environment_of_the_process_is_the_default_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STANDART_PROXY_HOPS", "3")
    monkeypatch.setenv("STANDART_PROXY_HOP", "3")
    assert Settings.from_env().proxy_hops == 3
    assert {row.variable: row.value for row in describe()}["STANDART_PROXY_HOPS"] == "3"
    assert "STANDART_PROXY_HOP" in unknown_variables()


def test_variables_that_nothing_reads_are_found() -> None:
    environ = {"STANDART_DATA_DIR_FILE": "", "STANDART_TTL": "1", "OTHER": "1", "REDIS_URL": ""}
    assert unknown_variables(environ) == ["STANDART_TTL"]
    assert unknown_variables({"STANDART_API_KEY": "of standart listen"}) == []


def test_rate_limits_are_shown_as_they_are_written() -> None:
    for text in ("100/second", "1/minute", "7/hour", "5/day"):
        assert str(settings(STANDART_RATE_LIMIT=text).rate_limit) == text


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "standart.config", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("flags", "document"),
    [((), "docs/configuration.md"), (("--env-example",), ".env.example")],
)
def test_the_documents_are_current_and_a_stale_one_is_noticed(
    flags: tuple[str, ...], document: str, elsewhere: Path
) -> None:
    printed = run_module(*flags)
    text = (ROOT / document).read_text(encoding="utf-8")
    assert (printed.returncode, printed.stdout) == (0, text)
    for setting in SETTINGS.values():
        assert setting.variable in text
    assert run_module(*flags, "--check", document).returncode == 0
    stale = elsewhere / "stale"
    stale.write_text(text + "\n")
    for path in (stale, elsewhere / "none"):
        checked = run_module(*flags, "--check", str(path))
        assert checked.returncode == 1
        assert f"{path} is stale: python -m standart.config" in checked.stderr
