"""All that happened to one transaction, in the order of time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from flask import url_for

from standart.admin import formats, messages
from standart.admin.language import as_moment, gettext
from standart.admin.queries import Posting, Sum

Wire = Mapping[str, Any]

_TONES: Final = {"confirmed": "good", "canceled": "bad"}

# What else of the audit log stands here under a kind of its own.
_TOLD: Final = frozenset(
    {
        "transaction.confirmed",
        "transaction.canceled",
        "transaction.expired",
        "transaction.approved",
    }
)


@dataclass(frozen=True)
class Moment:
    """One thing that happened.

    ``kind`` is created, approved, ended, posted, told, tried, noted or recorded; ``code`` says
    more: a status, a kind of journal, a type of event, an outcome or an action. ``lines`` are
    (account, sum) of a posting.
    """

    at: datetime
    kind: str
    code: str = ""
    who: str | None = None
    words: str | None = None
    lines: Sequence[tuple[str, Sum]] = field(default_factory=tuple)
    more: Mapping[str, Any] = field(default_factory=dict)


def of(shown: Mapping[str, Any]) -> list[Moment]:
    """Return the moments of a transaction's page, oldest first; what is of one moment as told."""
    found = shown["found"]
    moments = [
        Moment(as_moment(found["created_at"]), "created", words=found["description"]),
        *(Moment(at, "approved", who=name) for name, at in shown["approvals"]),
        *_ended(found, shown["audit"]),
        *(_posted(each) for each in shown["postings"]),
        *_told(shown["events"]),
        *(_noted(each) for each in shown["notes"]),
        *_recorded(shown["audit"]),
    ]
    return sorted(moments, key=lambda each: each.at)


def as_course(moments: Sequence[Moment], found: Wire) -> list[dict[str, Any]]:
    """Return the moments as the page's timeline has them, and what is still to come."""
    course = [_item(each) for each in moments]
    if found["status"] == "pending":
        to_come = {"icon": "clock", "tone": "wait", "to_come": True}
        course.append({"at": found["expires_at"], "title": gettext("Expires"), **to_come})
    return course


def _item(moment: Moment) -> dict[str, Any]:
    title, icon, tone = _looks(moment)
    item = {"at": moment.at, "title": title, "icon": icon, "tone": tone, "by": moment.who}
    if "event_id" in moment.more:
        item["url"] = url_for("webhooks.detail", event_id=moment.more["event_id"])
    if moment.lines:
        item["more"] = "; ".join(itertools.starmap(_line, moment.lines))
    return {**item, "text": moment.words}


def _line(account: str, moved: Sum) -> str:
    shown = f"{formats.amount(moved.amount)}\N{NO-BREAK SPACE}{moved.currency}"
    return f"{messages.label(messages.ACCOUNTS, account)} {shown}"


def _looks(moment: Moment) -> tuple[str, str, str]:
    """Return the title of a moment, its icon and its tone."""
    match moment.kind:
        case "created":
            return gettext("Created"), "plus", "plain"
        case "approved":
            return gettext("Approved"), "check", "good"
        case "ended":
            title = messages.label(messages.STATUSES, moment.code)
            return title, "circle-dot", _TONES.get(moment.code, "plain")
        case "posted":
            return messages.label(messages.JOURNALS, moment.code), "scale", "plain"
        case "told":
            return messages.label(messages.EVENT_TYPES, moment.code), "webhook", "plain"
        case "tried":
            return _tried(moment), "send", "good" if moment.code == "delivered" else "bad"
        case "noted":
            return gettext("Note"), "note", "plain"
    return moment.code, "history", "plain"


def _tried(moment: Moment) -> str:
    answer = moment.more["status_code"] or messages.outcome(moment.code)
    return gettext(
        "Attempt %(number)s: %(answer)s, %(count)s ms",
        number=moment.more["number"],
        answer=answer,
        count=moment.more["duration_ms"],
    )


def _ended(found: Wire, audit: Sequence[Any]) -> Iterator[Moment]:
    if found["finished_at"] is None:
        return
    action = f"transaction.{found['status']}"
    by = next((each for each in audit if each.action == action), None)
    yield Moment(
        as_moment(found["finished_at"]),
        "ended",
        found["status"],
        who=messages.actor(by.actor_id, by.actor_name) if by else None,
        words=found["reason"],
        more={"channel": by.channel, "ip": by.ip} if by else {},
    )


def _posted(posting: Posting) -> Moment:
    return Moment(
        posting.created_at, "posted", posting.kind, words=posting.reason, lines=posting.lines
    )


def _told(events: Sequence[Wire]) -> Iterator[Moment]:
    for event in events:
        yield Moment(
            as_moment(event["created_at"]), "told", event["type"], more={"event_id": event["id"]}
        )
        for delivery in event["deliveries"]:
            for attempt in delivery["attempts"]:
                yield Moment(
                    as_moment(attempt["created_at"]),
                    "tried",
                    attempt["outcome"],
                    more={
                        "event_id": event["id"],
                        "number": attempt["number"],
                        "status_code": attempt["status_code"],
                        "duration_ms": attempt["duration_ms"],
                    },
                )


def _noted(note: Wire) -> Moment:
    return Moment(
        as_moment(note["created_at"]),
        "noted",
        who=note["author"],
        words=note["text"],
        more={"internal": note["internal"]},
    )


def _recorded(audit: Sequence[Any]) -> Iterator[Moment]:
    for each in audit:
        if each.action not in _TOLD:
            yield Moment(
                each.created_at,
                "recorded",
                each.action,
                who=messages.actor(each.actor_id, each.actor_name),
                more={"before": each.before, "after": each.after},
            )
