"""`standart up`: engines, schema, first users, API, worker and beat in one process tree."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from standart.embedded import postgres, receiver, valkey
from standart.embedded.data_dir import (
    VARIABLE,
    AlreadyRunning,
    given,
    held,
    not_writable,
    publish,
    text_of,
    tree_secrets,
)
from standart.embedded.private_files import private_directory, read_pairs, write_pairs
from standart.embedded.process import EngineError, end_predecessors, launch, loopback_port
from standart.embedded.supervisor import (
    ENGINE_STAGE,
    SERVICE_STAGE,
    Program,
    StopRequested,
    Supervisor,
)
from standart.embedded.terminal import bracketed, introduce, say, step
from standart.errors import ConfigurationError
from standart.observability import configure_logging

log = logging.getLogger("standart.up")

# Marks every process of a tree with its data dir, grandchildren too: how a later start
# tells what a killed tree has left from everything else.
TREE_MARK = "_STANDART_TREE"

SERVICE_STEPS = ((signal.SIGTERM, 20.0),)
PREDECESSOR_STEPS = ((0.0, signal.SIGTERM), (5.0, signal.SIGKILL))

READY_SECONDS = 90.0
HOSTS = "STANDART_TRUSTED_HOSTS"
METRICS = "STANDART_METRICS_PORT"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
NETWORKS = "STANDART_WEBHOOK_ALLOWED_NETWORKS"
LOOPBACK_HOSTS = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `up`; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = Path("./.standart")
    workers: int = 1
    demo: bool = False


class Refused(Exception):
    """The tree cannot start; one line, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        """``message`` holds the remedy."""
        super().__init__(message)
        self.code = code


def up(options: Options, environ: Mapping[str, str]) -> int:
    """Run the tree until somebody ends it; return the exit code.

    0 after an orderly end, 2 when the data dir is in use or a setting makes no sense, 1
    when something else is in the way; the reason is one line on standard error.
    """
    try:
        with held(options.data_dir) as root:
            _run(options, root, dict(environ))
    except StopRequested:
        say("stopped")
        return 0
    except Refused as error:
        return _fail(str(error), error.code)
    except (AlreadyRunning, ConfigurationError) as error:
        return _fail(str(error), 2)
    except EngineError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(str(not_writable(options.data_dir, error)), 1)
    return 0


def _run(options: Options, root: Path, environ: dict[str, str]) -> None:
    with Supervisor(log.warning) as tree:
        end_predecessors(lambda: _marked(root), PREDECESSOR_STEPS)
        port = _free_port(options.host, options.port)
        url = f"http://{bracketed(options.host)}:{port}"
        environ |= {VARIABLE: str(root), TREE_MARK: str(root)}
        environ |= tree_secrets(root, environ)
        environ[HOSTS] = _trusted_hosts(options.host, environ)
        environ.pop(f"{HOSTS}_FILE", None)
        receiver_port = _receiver_port(root, environ) if options.demo else 0
        _start_engines(tree, root, environ)
        publish(root, environ)
        _share_metrics(root, environ)
        with step("schema and first users"):
            prepared = _prepare(environ, receiver_port)
        introduce(url, prepared)
        if receiver_port:
            tree.start(_receiver(receiver_port, prepared["webhook_secret"], environ))
        for program in _services(options, port, environ):
            tree.start(program)
        _wait_until_ready(tree, options.host, port)
        say(f"ready {url}")
        tree.run()


def _marked(root: Path) -> list[psutil.Process]:
    """Return the processes of a tree of this data dir that a killed supervisor has left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TREE_MARK) == str(root):
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or somebody else's
    return found


def _free_port(host: str, port: int) -> int:
    """Return the port to listen on.

    Raises:
        Refused: it is in use, or the host is not one of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise Refused(
            f"cannot listen on {bracketed(host)}:{port} ({error.strerror}); "
            "choose another port with --port, or another address with --host"
        ) from None


def _trusted_hosts(host: str, environ: Mapping[str, str]) -> str:
    known = text_of(environ, HOSTS) or LOOPBACK_HOSTS
    return ",".join(dict.fromkeys([*known.split(","), host]))


def _start_engines(tree: Supervisor, root: Path, environ: dict[str, str]) -> None:
    """Start the engines that ``environ`` names no server for, and note their URLs in it."""

    def start_database() -> subprocess.Popen[bytes]:
        server = postgres.start_postgres(root)
        urls = {
            "DATABASE_URL": server.app_url,
            "STANDART_MIGRATION_DATABASE_URL": server.owner_url,
        }
        _keep_urls(environ, urls, server)
        return server.process

    def start_broker() -> subprocess.Popen[bytes]:
        server = valkey.start_valkey(root)
        _keep_urls(environ, {"REDIS_URL": server.url}, server)
        return server.process

    if not given(environ, "DATABASE_URL"):
        with step("PostgreSQL"):
            tree.start(Program("PostgreSQL", start_database, ENGINE_STAGE, postgres.STOP_STEPS))
    if not given(environ, "REDIS_URL"):
        with step("Valkey"):
            tree.start(Program("Valkey", start_broker, ENGINE_STAGE, valkey.STOP_STEPS))


def _keep_urls(
    environ: dict[str, str], urls: Mapping[str, str], server: postgres.Postgres | valkey.Valkey
) -> None:
    """Note where an engine is; the others know no other place when it is started again."""
    if any(environ.get(name, url) != url for name, url in urls.items()):
        server.stop()
        raise EngineError("an engine's port was taken meanwhile")
    environ.update(urls)


def _share_metrics(root: Path, environ: dict[str, str]) -> None:
    """Let API and worker count in one folder, so that one port shows all; empty at each start."""
    if text_of(environ, METRICS) in ("", "0"):
        return
    folder = private_directory(root / "metrics")
    for left in folder.glob("*.db"):
        left.unlink()
    environ[METRICS_FOLDER] = str(folder)


def _receiver_port(root: Path, environ: dict[str, str]) -> int:
    """Choose where the examples' webhooks go, the same place at every start if it is free.

    The worker may reach the loopback then.
    """
    path = root / "demo"
    port = loopback_port(int(read_pairs(path).get("port", "0")))
    write_pairs(path, {"port": str(port)})
    allowed = text_of(environ, NETWORKS)
    environ.pop(f"{NETWORKS}_FILE", None)
    environ[NETWORKS] = f"{allowed},127.0.0.0/8" if allowed else "127.0.0.0/8"
    return port


def _receiver(port: int, secret: str, environ: Mapping[str, str]) -> Program:
    command = [sys.executable, "-P", "-m", "standart.embedded.receiver", str(port)]
    own = {**environ, receiver.SECRET_VARIABLE: secret}
    return Program(
        "webhook receiver",
        lambda: launch(command, death_signal=signal.SIGTERM, environment=own),
        SERVICE_STAGE,
        SERVICE_STEPS,
    )


def _prepare(environ: Mapping[str, str], receiver_port: int) -> dict[str, Any]:
    """Migrate and create what the first start needs, in a process of its own.

    With a ``receiver_port`` it adds the examples too.

    Raises:
        Refused: with the one line that it says.
    """
    command = [sys.executable, "-P", "-m", "standart.embedded.preparation"]
    if receiver_port:
        command.append(f"http://127.0.0.1:{receiver_port}/")
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines() or ["preparing the database failed"]
        raise Refused(reason[-1], 2 if done.returncode == 2 else 1)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _services(options: Options, port: int, environ: Mapping[str, str]) -> Iterator[Program]:
    place = ["--host", options.host, "--port", str(port)]
    commands = {
        "API": ["serve", *place, "--workers", str(options.workers)],
        "worker": ["worker", "--beat"],
    }
    for name, arguments in commands.items():
        yield Program(name, _starter(arguments, environ), SERVICE_STAGE, SERVICE_STEPS)


def _starter(
    arguments: list[str], environ: Mapping[str, str]
) -> Callable[[], subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-m", "standart", *arguments]
    return lambda: launch(command, death_signal=signal.SIGTERM, environment=environ)


def _wait_until_ready(tree: Supervisor, host: str, port: int) -> None:
    """Wait for the API's own word.

    Raises:
        Refused: it has not come within 90 s.
    """
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    deadline = time.monotonic() + READY_SECONDS

    def ready() -> bool:
        if time.monotonic() > deadline:
            raise Refused(f"not ready within {READY_SECONDS:.0f} s; the lines above say why")
        connection = http.client.HTTPConnection(address, port, timeout=2.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    # No time stands behind this one: what the children log comes in between.
    say("  API and worker ...")
    tree.wait_for(ready)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"standart up: {message}\n")
    return code


if __name__ == "__main__":
    given_options = json.loads(sys.argv[1])
    given_options["data_dir"] = Path(given_options["data_dir"])
    configure_logging(os.environ.get("STANDART_LOG_FORMAT") or "auto", "INFO")
    sys.exit(up(Options(**given_options), os.environ))
