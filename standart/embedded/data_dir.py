"""The data dir of `up`: one owner at a time, room on the disk, and the secrets of the tree."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from standart.embedded.private_files import data_root, read_pairs, write_pairs
from standart.errors import ConfigurationError

ENVIRONMENT = "environment"
VARIABLE = "STANDART_DATA_DIR"
ENCRYPTION_KEYS = "STANDART_ENCRYPTION_KEYS"
PUBLISHED = (
    "DATABASE_URL",
    "STANDART_MIGRATION_DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    ENCRYPTION_KEYS,
)

# A new cluster takes about 40 MB and its first WAL segments as much again.
NEEDED_BYTES = 256 * 1024 * 1024


class AlreadyRunning(Exception):
    """Another `standart up` holds the data dir."""


@contextmanager
def held(data_dir: Path) -> Iterator[Path]:
    """Hold the data dir, made when missing; yields its absolute path.

    The lock ends with this process, however it ends.

    Raises:
        AlreadyRunning: another process holds it; the message names its pid.
        ConfigurationError: it cannot be written, or its disk is full.
    """
    try:
        root = data_root(data_dir)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise not_writable(data_dir, error) from None
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = lock.read().strip() or "unknown"
            raise AlreadyRunning(
                f"another `standart up` (pid {pid}) is using {root}; "
                "stop it, or choose another folder with --data-dir"
            ) from None
        try:
            _check_room(root)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        except OSError as error:
            raise not_writable(root, error) from None
        yield root


def not_writable(data_dir: Path, error: OSError) -> ConfigurationError:
    """Return the refusal of a data dir in one line."""
    return ConfigurationError(
        VARIABLE,
        f"{data_dir} cannot be used ({error.strerror or error})",
        "Choose a folder that this user may write, with room on its disk, by --data-dir",
    )


def _check_room(root: Path) -> None:
    status = os.statvfs(root)
    free = status.f_bavail * status.f_frsize
    if free < NEEDED_BYTES:
        raise ConfigurationError(
            VARIABLE,
            f"only {free // 2**20} MB are free on the disk of {root}",
            f"Free {NEEDED_BYTES // 2**20} MB, or choose another folder with --data-dir",
        )


def given(environ: Mapping[str, str], variable: str) -> bool:
    """Tell whether a setting is set, by itself or by its ``_FILE``."""
    return bool(environ.get(variable, "").strip() or environ.get(f"{variable}_FILE", "").strip())


def text_of(environ: Mapping[str, str], variable: str) -> str:
    """Return the text of a setting, read from its ``_FILE`` where that is how it is set."""
    text = environ.get(variable, "").strip()
    path = environ.get(f"{variable}_FILE", "").strip()
    if text or not path:
        return text
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""  # the settings themselves say what is wrong with it


def tree_secrets(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that ``environ`` lacks, made on the first call and kept ever after.

    They stay in a file of their own while the environment overrides them, for rows are
    sealed with them.
    """
    path = root / "secrets"
    kept = read_pairs(path)
    fresh = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        # As `encryption.generate_key`, without loading the ciphers into the supervisor.
        ENCRYPTION_KEYS: "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    if fresh.keys() - kept.keys():
        kept = fresh | kept
        write_pairs(path, kept)
    return {name: kept[name] for name in fresh if not given(environ, name)}


def put_key_in_front(root: Path, key: str, present: str) -> bool:
    """Put ``key`` in front of the tree's key ring, mode 0600; it counts from the next start.

    ``present`` is the ring that the running tree uses. Returns ``False``, and changes nothing,
    where that does not come from the data dir or another key was put in front before.
    """
    path = root / "secrets"
    kept = read_pairs(path)
    if kept.get(ENCRYPTION_KEYS) != present:
        return False
    write_pairs(path, kept | {ENCRYPTION_KEYS: f"{key},{present}"})
    return True


def kept_key_ring(root: Path) -> str:
    """Return the key ring that the next start of the tree will use, ``""`` without one."""
    return read_pairs(root / "secrets").get(ENCRYPTION_KEYS, "")


def publish(root: Path, environ: Mapping[str, str]) -> None:
    """Write how other commands reach this tree, mode 0600."""
    texts = {name: text_of(environ, name) for name in PUBLISHED}
    write_pairs(root / ENVIRONMENT, {name: text for name, text in texts.items() if text})
