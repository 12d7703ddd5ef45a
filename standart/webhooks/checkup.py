"""Checks a receiver: sends it what will come one day, and says what it did wrong.

All messages are marked as tests: their type is ``ping`` unless asked otherwise, the body has
``"test": true`` on top, the header ``webhook-test`` is ``1``, and the transaction in them has an
id that begins with zeros and belongs to nobody. They go through the real sender and its rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from standart.webhooks import signing
from standart.webhooks.addresses import UrlRules
from standart.webhooks.sender import DEADLINE, Attempt, Delivery, send_all

TEST_TYPE: Final = "ping"

STALE_SECONDS: Final = 600
"""How old the stale message is; receivers are to refuse what is older than five minutes."""

SLOW_SECONDS: Final = 5
"""A receiver that takes longer does its work before it answers."""

Send = Callable[[Delivery], Attempt]

_GOOD: Final = "good"
_NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the receiver did wrong: a stable ``code``, and a sentence for people."""

    code: str
    scenario: str
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """One message that was sent, and what came of it."""

    scenario: str
    attempt: Attempt
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A message, and what a good receiver does with it.

    It is to accept it (2xx), or to turn it down; ``code`` and ``wrong`` tell of one that does the
    opposite.
    """

    name: str
    delivery: Delivery
    code: str
    wrong: str
    to_accept: bool


def check(
    url: str,
    secrets: Sequence[str],
    rules: UrlRules,
    *,
    new_id: Callable[[], UUID],
    timestamp: int,
    extra_headers: Mapping[str, str] | None = None,
    type: str = TEST_TYPE,
    deadline: float = DEADLINE,
) -> Iterator[Step]:
    """Send the messages one after another and yield what came of each; no finding, no fault.

    ``timestamp`` is now, in seconds since the Unix epoch; ``deadline`` is in seconds for each
    message. Ends early when there is no answer at all. Must not be called from an event loop.
    """

    def send(delivery: Delivery) -> Attempt:
        return send_all([delivery], rules, deadline=deadline)[0]

    made = scenarios(
        url,
        secrets,
        new_id=new_id,
        timestamp=timestamp,
        extra_headers=extra_headers or {},
        type=type,
    )
    return judge(made, send)


def judge(made: Sequence[Scenario], send: Send) -> Iterator[Step]:
    """Send each scenario by ``send`` and yield what came of it; the first one is the good one."""
    good_was_taken = True
    for scenario in made:
        attempt = send(scenario.delivery)
        faults = list(_faults(scenario, attempt))
        if scenario.name == _GOOD:
            good_was_taken = _accepted(attempt)
        elif scenario.to_accept and not good_was_taken:
            # Whatever keeps the good one out keeps these out too, and has been said.
            faults = []
        yield Step(scenario.name, attempt, tuple(faults))
        if attempt.status_code is None:
            return


def _accepted(attempt: Attempt) -> bool:
    return attempt.outcome == "delivered"


def _faults(scenario: Scenario, attempt: Attempt) -> Iterator[Finding]:
    def finding(code: str, message: str) -> Finding:
        return Finding(code, scenario.name, message)

    status = attempt.status_code
    if status is None:
        yield finding(*_unanswered(attempt))
        return
    if scenario.to_accept and not _accepted(attempt):
        yield finding(*_refused(scenario, status))
    elif not scenario.to_accept and _accepted(attempt):
        yield finding(scenario.code, scenario.wrong)
    elif not scenario.to_accept and status >= 500:
        yield finding(
            "failed_instead_of_refusing",
            f"It failed (HTTP {status}) at a message that it should turn down with 401 or 400.",
        )
    if attempt.duration_ms > SLOW_SECONDS * 1000:
        yield finding(
            "slow",
            f"It took {attempt.duration_ms / 1000:.1f} s. Keep the message, answer 2xx at once, "
            "and do the work after that.",
        )
    if attempt.error:
        yield finding("answer_incomplete", f"It answered {status}, but {attempt.error}.")


_UNANSWERED: Final = {
    "dns": ("dns", "Its name leads to no address"),
    "tls": ("tls", "No secure connection to it can be made"),
    "blocked": ("blocked", "Standart may not connect there"),
    "refused": ("unreachable", "It cannot be reached"),
    "timeout": ("timeout", "It did not answer in time"),
    "too_large": ("too_large", "It answered more than Standart reads"),
}


def _unanswered(attempt: Attempt) -> tuple[str, str]:
    code, words = _UNANSWERED.get(attempt.outcome, ("no_http", "It did not answer by HTTP"))
    return code, f"{words}: {attempt.error}."


_HINTS: Final = {
    400: "Is the secret the endpoint's, and is the signature computed over the raw bytes of the "
    "body, before any JSON is parsed?",
    404: "Is the path of the URL right?",
    405: "It must take POST.",
    410: "410 says that the endpoint is gone: Standart would disable it.",
    413: "It must take bodies up to 64 KiB.",
    415: "It must take the content type application/json.",
    422: "It must take fields, types and ids that it does not know: more may be added.",
    429: "It turns messages down as too many.",
}
_HINTS_BY_CLASS: Final = {
    4: "Does it take fields, types and ids that it does not know?",
    5: "It failed inside; its own log should say why.",
}


def _refused(scenario: Scenario, status: int) -> tuple[str, str]:
    if 300 <= status <= 399:
        return "redirect", (
            f"It answered with a redirect (HTTP {status}), and Standart follows none. "
            "Register the URL that it leads to."
        )
    as_400 = 400 if status in (401, 403) else status
    hint = _HINTS.get(as_400) or _HINTS_BY_CLASS.get(status // 100, "Only 2xx is success.")
    return scenario.code, f"{scenario.wrong} (HTTP {status}). {hint}"


def scenarios(
    url: str,
    secrets: Sequence[str],
    *,
    new_id: Callable[[], UUID],
    timestamp: int,
    extra_headers: Mapping[str, str],
    type: str = TEST_TYPE,
) -> list[Scenario]:
    """Return all messages of a check-up in the order in which they are to be sent."""
    run = _Run(url, secrets, new_id, timestamp, extra_headers, type)
    return [*run.to_be_accepted(), *run.to_be_refused()]


@dataclass(slots=True)
class _Run:
    """What the messages of one check-up share."""

    url: str
    secrets: Sequence[str]
    new_id: Callable[[], UUID]
    timestamp: int
    extra_headers: Mapping[str, str]
    type: str
    stranger: str = field(default_factory=signing.new_secret)

    def to_be_accepted(self) -> Iterator[Scenario]:
        """Make the messages that a good receiver takes."""

        def accept(name: str, code: str, wrong: str, delivery: Delivery) -> Scenario:
            return Scenario(name, delivery, code, wrong, to_accept=True)

        good = str(self.new_id())
        body = self._body(self.new_id(), 2)
        yield accept(
            _GOOD,
            "refused_good",
            "It turned down a rightly signed message",
            self._message(good, body),
        )
        yield accept(
            "duplicate",
            "refused_duplicate",
            "It turned down a message with the webhook-id of one that it had taken; what has "
            "been taken is to be answered with 2xx again",
            self._message(good, body),
        )
        yield accept(
            "rotated",
            "refused_rotated",
            "It turned down a message with two signatures, of which the second is right: so "
            "they come for 24 h after a rotation of the secret",
            self._message(
                str(self.new_id()),
                self._body(self.new_id(), 2),
                secrets=[self.stranger, *self.secrets],
            ),
        )
        late = self.new_id()
        yield accept(
            "newer_first",
            "refused_newer_first",
            "It turned down the second event of a transaction whose first has not come yet",
            self._message(str(self.new_id()), self._body(late, 2)),
        )
        yield accept(
            "older_last",
            "refused_older_last",
            "It turned down the first event of a transaction whose second has come already; "
            "what is out of date is to be answered with 2xx and left alone",
            self._message(str(self.new_id()), self._body(late, 1)),
        )

    def to_be_refused(self) -> Iterator[Scenario]:
        """Make the messages that no good receiver takes."""

        def refuse(name: str, wrong: str, delivery: Delivery) -> Scenario:
            return Scenario(name, delivery, f"accepted_{name}", wrong, to_accept=False)

        body = self._body(self.new_id(), 2)
        yield refuse(
            "forged",
            "It accepted a message that was signed with another secret: anybody can send it "
            "events.",
            self._message(str(self.new_id()), body, secrets=[self.stranger]),
        )
        signed = self._message(str(self.new_id()), body)
        yield refuse(
            "altered",
            "It accepted a message whose body was changed after it was signed.",
            Delivery(
                url=self.url,
                headers=signed.headers,
                body=body.replace(b'"amount":"1.00"', b'"amount":"9.00"'),
            ),
        )
        bare = dict(self._message(str(self.new_id()), body).headers)
        del bare["webhook-signature"]
        yield refuse(
            "unsigned",
            "It accepted a message without a signature.",
            Delivery(url=self.url, headers=bare, body=body),
        )
        yield refuse(
            "stale",
            f"It accepted a rightly signed message that is {STALE_SECONDS // 60} minutes old: "
            "whoever records one can send it again for ever.",
            self._message(str(self.new_id()), body, age=STALE_SECONDS),
        )

    def _message(
        self, message_id: str, body: bytes, *, secrets: Sequence[str] = (), age: int = 0
    ) -> Delivery:
        signed = signing.headers(secrets or self.secrets, message_id, self.timestamp - age, body)
        return Delivery(
            url=self.url,
            headers={**self.extra_headers, **signed, "webhook-test": "1"},
            body=body,
        )

    def _body(self, unique: UUID, sequence: int) -> bytes:
        """Make the body about a transaction that is nobody's.

        The description is not ASCII, and the JSON compact, as in real ones: a signature over
        anything but the raw bytes does not come out right.
        """
        moment = datetime.fromtimestamp(self.timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        status = "pending" if sequence == 1 else "confirmed"
        transaction: dict[str, Any] = {
            # The random end of the id, so that no two check-ups speak of the same one.
            "id": str(UUID(int=unique.int & 0xFFFF_FFFF_FFFF)),
            "user_id": str(_NOBODY),
            "amount": "1.00",
            "currency": "RUB",
            "commission_rate": "0",
            "commission": "0.00",
            "net": "1.00",
            "status": status,
            "reference": "standart-check-receiver",
            "description": "Проверка получателя — a test, no money has moved",
            "metadata": {},
            "reason": None,
            "created_at": moment,
            "expires_at": moment,
            "finished_at": None if sequence == 1 else moment,
            "fee_schedule": None,
            "refunded_amount": "0.00",
            "late_for": None,
            "approvals": 0,
        }
        event = {
            "type": self.type,
            "timestamp": moment,
            "id": transaction["id"],
            "status": status,
            "sequence": sequence,
            "data": transaction,
            "test": True,
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
