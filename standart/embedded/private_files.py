"""Files and folders that only their owner and root can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LARGEST_LOG = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that an engine runs as when we are root."""

    uid: int
    gid: int


def data_root(data_dir: Path) -> Path:
    """Return ``data_dir`` as an absolute path, made with mode 0700 where it is missing.

    One that exists keeps its mode: it may be a folder that others use as well, and all
    that we put into it is closed by itself.
    """
    root = data_dir.resolve()
    if not root.is_dir():
        private_directory(root)
    return root


def private_directory(path: Path, account: Account | None = None) -> Path:
    """Make ``path`` a directory that only ``account`` (or we) and root can enter, 0700.

    Missing parents are made with 0700 as well; those that exist keep their modes.
    """
    if not path.is_dir():
        if not path.parent.is_dir():
            private_directory(path.parent)
        path.mkdir(mode=0o700)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700)
    return path


def write_private(path: Path, content: str, account: Account | None = None) -> None:
    """Replace ``path`` by ``content`` in one step, mode 0600, on disk when this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if account is not None:
                os.fchown(file.fileno(), account.uid, account.gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_pairs(path: Path) -> dict[str, str]:
    """Return the ``KEY=VALUE`` lines of ``path``, nothing when there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


def write_pairs(path: Path, pairs: Mapping[str, str]) -> None:
    """Write ``pairs`` as ``KEY=VALUE`` lines, mode 0600."""
    write_private(path, "".join(f"{key}={value}\n" for key, value in pairs.items()))


def keep_secrets(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the secrets of ``path`` after adding random ones for the ``names`` it lacks."""
    pairs = read_pairs(path)
    missing = [name for name in names if not pairs.get(name)]
    if missing:
        pairs.update({name: secrets.token_urlsafe(24) for name in missing})
        write_pairs(path, pairs)
    return pairs


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending, mode 0600; one above 16 MiB is set aside as ``*.old``."""
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_name(f"{path.name}.old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.lseek(descriptor, 0, os.SEEK_END)
    return os.fdopen(descriptor, "ab")
