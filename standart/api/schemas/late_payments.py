"""Late payments: what is asked; the answer is a transaction."""

from __future__ import annotations

from standart.api import checks
from standart.api.fields import Id
from standart.api.schemas.common import Request


class RecordLatePayment(Request, frozen=True):
    """Which canceled or expired transaction was paid after all."""

    id: Id

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier))
