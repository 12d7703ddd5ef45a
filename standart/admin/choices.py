"""What a select offers: one place for a class that the library's stubs do not know yet."""

from __future__ import annotations

from wtforms.fields import SelectChoice  # type: ignore[attr-defined]  # newer than its stubs

__all__ = ["SelectChoice"]
