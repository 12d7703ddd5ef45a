"""How events and attempts look in lists and pages: summed up, and without what is secret."""

from __future__ import annotations

from typing import Any

from standart.admin import messages
from standart.admin.endpoints import Wire
from standart.observability import masked, redact


def summed_up(event: Wire, names: dict[str, str]) -> Wire:
    """Sum up the deliveries of an event: their states, the last answers, what comes next."""
    deliveries = event["deliveries"]
    counts = {
        state: sum(delivery["state"] == state for delivery in deliveries)
        for state in messages.DELIVERY_STATES
    }
    last = [delivery["attempts"][-1] for delivery in deliveries if delivery["attempts"]]
    due = [each["next_attempt_at"] for each in deliveries if each["next_attempt_at"]]
    return {
        **event,
        "user_name": names[event["user_id"]],
        "states": {state: count for state, count in counts.items() if count},
        "tries": sum(delivery["attempt_count"] for delivery in deliveries),
        "answers": list(dict.fromkeys(each["status_code"] or each["outcome"] for each in last)),
        "sent_at": max((each["created_at"] for each in last), default=None),
        "next_at": min(due, default=None),
    }


def clean_attempt(attempt: Wire) -> Wire:
    """Return an attempt without what is secret in its URL, its headers or what came back."""
    response = attempt["response"]
    return {
        **attempt,
        "error": attempt["error"] and redact(attempt["error"]),
        "request": {
            **attempt["request"],
            "url": redact(attempt["request"]["url"]),
            "headers": _headers(attempt["request"]["headers"]),
        },
        "response": response
        and {
            **response,
            "headers": _headers(response["headers"]),
            "body": response["body"] and redact(response["body"]),
        },
    }


def _headers(headers: dict[str, Any] | None) -> dict[str, object] | None:
    return headers and {name: masked(name, value) for name, value in headers.items()}
