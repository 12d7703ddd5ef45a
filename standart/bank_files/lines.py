"""The lines of a file as text, one in memory at a time, in an encoding that is proven."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from standart.bank_files.records import wrong
from standart.errors import InvalidInput
from standart.phrases import Phrase

LONGEST_LINE: Final = 65_536
"""Bytes of a line, its end included."""

LARGEST_FILE: Final = 2 * 1024**3
"""Bytes of a file."""

UTF_8: Final = "utf-8"
WINDOWS_1251: Final = "windows-1251"
CP866: Final = "cp866"
ENCODINGS: Final = (UTF_8, WINDOWS_1251, CP866)

MARK: Final = b"\xef\xbb\xbf"
_OTHER_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class Lines:
    """Reads a binary file line by line; what was read is counted and digested.

    Without a given ``encoding`` the first line with anything but ASCII decides between UTF-8
    and Windows-1251; every line must then be valid in it.
    """

    def __init__(self, file: BinaryIO, encoding: str | None = None) -> None:
        """``encoding`` is one of ``ENCODINGS``."""
        self._file = file
        self._digest = hashlib.sha256()
        self._ahead = b""
        self.encoding = encoding
        self.number = 0
        self.size = 0

    @property
    def digest(self) -> bytes:
        """SHA-256 over the bytes that were read."""
        return self._digest.digest()

    def __iter__(self) -> Iterator[str]:
        """Yield the lines as text with their ends.

        Raises:
            InvalidInput: a line is too long, holds NUL, or is not valid in the encoding.
        """
        while line := self.read():
            yield self.decode(line)

    def peek(self) -> bytes:
        """Return what ``read`` will begin with, and take nothing."""
        self._ahead = self._ahead or self._file.readline(LONGEST_LINE + 1)
        return self._ahead

    def read(self) -> bytes:
        """Return the next line as it is, without a byte order mark; nothing at the end.

        Raises:
            InvalidInput: the line or the file is too long, or it holds NUL.
        """
        line, self._ahead = self.peek(), b""
        if not line:
            return line
        self.number += 1
        self.size += len(line)
        self._digest.update(line)
        if self.number == 1 and line.startswith(_OTHER_MARKS):
            raise wrong(1, Phrase("is UTF-16; save the file as UTF-8 or Windows-1251"))
        if len(line) > LONGEST_LINE:
            raise wrong(self.number, Phrase("is longer than %(most)s bytes", most=LONGEST_LINE))
        if b"\0" in line:
            raise wrong(self.number, Phrase("holds a NUL byte"))
        if self.size > LARGEST_FILE:
            message = Phrase("is where the file passes %(most)s bytes", most=LARGEST_FILE)
            raise wrong(self.number, message)
        if self.number == 1 and line.startswith(MARK):
            return self._without_mark(line)
        return line

    def _without_mark(self, line: bytes) -> bytes:
        if self.encoding not in (None, UTF_8):
            message = Phrase(
                "begins with the mark of UTF-8, so it is not %(encoding)s", encoding=self.encoding
            )
            raise wrong(1, message)
        self.encoding = UTF_8
        # An empty answer would be the end of the file.
        return line.removeprefix(MARK) or b"\n"

    def decode(self, line: bytes) -> str:
        """Return ``line``, the one that was read last, as text.

        Raises:
            InvalidInput: it is not valid in the file's encoding.
        """
        if self.encoding is None:
            if line.isascii():
                return line.decode("ascii")
            self.encoding = UTF_8 if _is_valid(line, UTF_8) else WINDOWS_1251
        try:
            return line.decode(self.encoding)
        except UnicodeDecodeError:
            raise self._undecodable() from None

    def _undecodable(self) -> InvalidInput:
        message = Phrase(
            "is not %(encoding)s; name the encoding by --encoding", encoding=self.encoding
        )
        return wrong(self.number, message)


def _is_valid(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
