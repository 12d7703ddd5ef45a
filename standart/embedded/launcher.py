"""Turns itself into another program that ends with its parent and has no root rights.

Run by path as ``python -I -S launcher.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…``: doing
this between fork and exec of the parent would run Python code in a half-copied process.
``SIGNAL`` is what the kernel sends when ``PARENT`` dies (Linux only); a ``UID`` of -1
keeps the account.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION = 0x20080522
HEADER = struct.Struct("=Ii")
SETS = struct.Struct("=6I")


def _prctl(option: int, *values: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, *values, *[0] * (4 - len(values))) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _capability_call(name: str, sets: bytes) -> bytes:
    header = ctypes.create_string_buffer(HEADER.pack(CAPABILITY_VERSION, 0))
    buffer = ctypes.create_string_buffer(sets, SETS.size)
    if getattr(ctypes.CDLL(None, use_errno=True), name)(header, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


def _keep_one_capability() -> None:
    """Keep the right to walk through folders that are closed to the new account.

    The data dir and its parents (``/root``) are usually 0700, and their modes are not ours
    to widen. Of all of root's rights one remains, the weaker of the two that suffice;
    containers often grant only the stronger one.
    """
    permitted = SETS.unpack(_capability_call("capget", bytes(SETS.size)))[1]
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        bit = 1 << capability
        if permitted & bit:
            _capability_call("capset", SETS.pack(bit, bit, bit, 0, 0, 0))
            _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
            return


def _change_account(uid: int, gid: int) -> None:
    linux = sys.platform == "linux"
    if linux:
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if linux:
        _keep_one_capability()


def main(arguments: list[str]) -> None:
    """Become the program that ``arguments`` name."""
    parent, signal_number, uid, gid = (int(value) for value in arguments[:4])
    os.umask(0o077)
    if uid >= 0:
        _change_account(uid, gid)
    if sys.platform == "linux" and signal_number:
        # A change of account clears this, so it comes after it.
        _prctl(PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:
            sys.exit("the parent ended before its child could start")
    os.execv(arguments[4], arguments[4:])  # noqa: S606 - the purpose of this program


if __name__ == "__main__":
    main(sys.argv[1:])
