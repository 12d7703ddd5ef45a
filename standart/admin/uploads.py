"""How large a file the panel takes: more than any other request, and from few people only."""

from __future__ import annotations

from typing import Final

from flask import request

from standart.admin import matrix
from standart.admin.pages import visitor

LARGEST: Final = 256 * 1024**2
"""Bytes of a request with a file; Werkzeug keeps the file on disk, not in memory."""

_FIELDS_BYTES: Final = 1024**2

_TAKES_FILES: Final = "reconciliation.new_run"


def allow_files() -> None:
    """Let a request with a file be large, before anything reads its form.

    Whoever may not hand a file over is bound by the limit of all other requests.
    """
    if request.endpoint != _TAKES_FILES or request.method != "POST":
        return
    somebody = visitor()
    if somebody is not None and matrix.may(somebody.role, _TAKES_FILES):
        request.max_content_length = LARGEST
        # What is read at once counts as well, and that is 64 KiB.
        request.max_form_memory_size = _FIELDS_BYTES
