"""What a proof of the books finds wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken invariant: its name and the rows that break it.

    ``rows`` is above one where a finding stands for several that are not named.
    """

    invariant: str
    subject: str
    detail: str
    rows: int = 1
