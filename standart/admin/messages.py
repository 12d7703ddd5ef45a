"""The words of the domain in the viewer's language: statuses, actions and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from flask_babel import lazy_gettext

from standart.admin import formats
from standart.admin.error_words import ERRORS, FOREIGN_HEADER, SHAPES, WITH_STATE
from standart.admin.field_words import FIELDS
from standart.admin.language import gettext, moment_text
from standart.errors import DomainError, InvalidInput, NotOver, RefundTooLarge
from standart.phrases import Phrase

STATUSES: Final = {
    "pending": lazy_gettext("Pending"),
    "confirmed": lazy_gettext("Confirmed"),
    "canceled": lazy_gettext("Canceled"),
    "expired": lazy_gettext("Expired"),
}
# What payouts, refunds and adjustments may be; the audit log tells of them all.
STATES: Final = {
    **STATUSES,
    "approved": lazy_gettext("Approved"),
    "paid": lazy_gettext("Paid out"),
    "failed": lazy_gettext("Failed"),
    "rejected": lazy_gettext("Rejected"),
    "posted": lazy_gettext("Posted"),
    "dead": lazy_gettext("Given up"),
    "all": lazy_gettext("all"),
}
PAYOUT_STATUSES: Final = {
    "open": lazy_gettext("Open: pending or approved"),
    **{
        code: STATES[code]
        for code in ("pending", "approved", "paid", "failed", "rejected", "canceled")
    },
}
ADJUSTMENT_STATUSES: Final = {code: STATES[code] for code in ("pending", "posted", "canceled")}
ROLES: Final = {
    "admin": lazy_gettext("Admin"),
    "operator": lazy_gettext("Operator"),
    "viewer": lazy_gettext("Viewer"),
    "regular": lazy_gettext("Merchant"),
}
DELIVERY_STATES: Final = {
    "waiting": lazy_gettext("Waiting"),
    "delivered": lazy_gettext("Delivered"),
    "dead": lazy_gettext("Given up"),
}
# By the last attempt's HTTP status.
ANSWERS: Final = {
    "2xx": lazy_gettext("2xx, success"),
    "3xx": lazy_gettext("3xx, a redirect"),
    "4xx": lazy_gettext("4xx, turned down"),
    "5xx": lazy_gettext("5xx, failed inside"),
    "none": lazy_gettext("no answer"),
}
STOPS: Final = {
    "owner": lazy_gettext("switched off by its owner"),
    "gone": lazy_gettext("the receiver answered 410; save its URL anew to go on"),
    "failing": lazy_gettext("every try failed for five days; save its URL anew to go on"),
}
EVENT_TYPES: Final = {
    "transaction.created": lazy_gettext("Transaction created"),
    "transaction.confirmed": lazy_gettext("Transaction confirmed"),
    "transaction.canceled": lazy_gettext("Transaction canceled"),
    "transaction.expired": lazy_gettext("Transaction expired"),
    "refund.created": lazy_gettext("Refund made"),
    "payout.created": lazy_gettext("Payout asked for"),
    "payout.approved": lazy_gettext("Payout approved"),
    "payout.rejected": lazy_gettext("Payout rejected"),
    "payout.canceled": lazy_gettext("Payout canceled"),
    "payout.paid": lazy_gettext("Payout paid"),
    "payout.failed": lazy_gettext("Payout failed"),
    "balance.adjusted": lazy_gettext("Balance adjusted"),
    "webhook_endpoint.disabled": lazy_gettext("Webhook endpoint stopped"),
    "ping": lazy_gettext("Test message"),
}
SUBSCRIPTIONS: Final = {
    **EVENT_TYPES,
    "transaction.*": lazy_gettext("All about transactions"),
    "refund.*": lazy_gettext("All about refunds"),
    "payout.*": lazy_gettext("All about payouts"),
    "balance.*": lazy_gettext("All about the balance"),
    "webhook_endpoint.*": lazy_gettext("All about endpoints"),
    "*": lazy_gettext("Everything"),
}
OUTCOMES: Final = {
    "delivered": lazy_gettext("Delivered"),
    "timeout": lazy_gettext("No answer in time"),
    "dns": lazy_gettext("The name leads nowhere"),
    "tls": lazy_gettext("No secure connection"),
    "blocked": lazy_gettext("The address is not allowed"),
    "too_large": lazy_gettext("The answer is too large"),
    "refused": lazy_gettext("Not reachable"),
    "protocol": lazy_gettext("No valid HTTP"),
    "unsigned": lazy_gettext("Could not be signed"),
}
REPLAY_SCOPES: Final = {
    "dead": lazy_gettext("those that were given up"),
    "all": lazy_gettext("all that the endpoint asks for or got before"),
}
OBJECTS: Final = {
    "transaction": lazy_gettext("Transaction"),
    "user": lazy_gettext("User"),
    "refund": lazy_gettext("Refund"),
    "payout": lazy_gettext("Payout"),
    "adjustment": lazy_gettext("Adjustment"),
    "note": lazy_gettext("Note"),
    "event": lazy_gettext("Event"),
    "webhook_endpoint": lazy_gettext("Webhook endpoint"),
    "encryption_key": lazy_gettext("Encryption key"),
    "signing_key": lazy_gettext("Key that signs receipts"),
    "period": lazy_gettext("Period"),
    "export": lazy_gettext("Export"),
    "reconciliation": lazy_gettext("Reconciliation"),
    "webhook_replay": lazy_gettext("Replay"),
}
# Where what was done came from.
CHANNELS: Final = {
    "panel": lazy_gettext("panel"),
    "api": lazy_gettext("API"),
    "cli": lazy_gettext("command line"),
    "system": lazy_gettext("the service itself"),
    "sweep": lazy_gettext("expiry sweep"),
    "demo": lazy_gettext("sample data"),
}
# Who acts without being a user, by the name that the audit log keeps.
ACTORS: Final = {
    "system": lazy_gettext("the service itself"),
    "command line": lazy_gettext("command line"),
}
# Where a setting's value comes from; else it is the name of a file.
SOURCES: Final = {
    "environment": lazy_gettext("environment"),
    "default": lazy_gettext("default value"),
    "missing": lazy_gettext("missing"),
}
CHECKS: Final = {
    "settings": lazy_gettext("Settings"),
    "broker": lazy_gettext("Broker"),
    "database": lazy_gettext("Database"),
    "migrations": lazy_gettext("Schema"),
    "role": lazy_gettext("Role in the database"),
    "clock": lazy_gettext("Clock"),
    "events": lazy_gettext("Order of events"),
    "worker": lazy_gettext("Worker"),
    "seals": lazy_gettext("Seals of the books"),
    "webhooks": lazy_gettext("Webhooks"),
    "endpoints": lazy_gettext("Endpoints"),
    "replays": lazy_gettext("Replays"),
    "retention": lazy_gettext("Purge of old events"),
    "keys": lazy_gettext("Encryption keys"),
}
ACCOUNTS: Final = {
    "available": lazy_gettext("Available to the merchant"),
    "pending_payout": lazy_gettext("Reserved for payouts"),
    "clearing": lazy_gettext("Clearing"),
    "commission": lazy_gettext("Commission"),
    "adjustment": lazy_gettext("Corrections"),
}
JOURNALS: Final = {
    "settlement": lazy_gettext("Settlement"),
    "refund": lazy_gettext("Refund"),
    "payout_reserved": lazy_gettext("Payout reserved"),
    "payout_returned": lazy_gettext("Payout given back"),
    "payout_paid": lazy_gettext("Payout paid"),
    "adjustment": lazy_gettext("Adjustment"),
    "opening_balance": lazy_gettext("Opening balance"),
}
LIMITS: Final = {
    "transaction_amount": lazy_gettext("One transaction"),
    "daily_amount": lazy_gettext("Sum of a day"),
    "daily_count": lazy_gettext("Transactions a day"),
    "pending_count": lazy_gettext("Pending at once"),
}
SCHEDULE_STATES: Final = {
    "planned": lazy_gettext("Planned"),
    "in_force": lazy_gettext("In force"),
    "replaced": lazy_gettext("Replaced"),
}
SCOPES: Final = {
    "read": lazy_gettext("look things up"),
    "write": lazy_gettext("create and cancel transactions, write notes"),
    "confirm": lazy_gettext("confirm, approve and correct"),
    "refund": lazy_gettext("give money back to payers"),
    "payout": lazy_gettext("ask for payouts"),
}
ACTIONS: Final = {
    **EVENT_TYPES,
    "transactions.exported": lazy_gettext("Transactions exported"),
    "reconciliation.run": lazy_gettext("File reconciled"),
    "transaction.approved": lazy_gettext("Transaction approved by one of two"),
    "late_payment.approved": lazy_gettext("Late payment approved by one of two"),
    "payout.approved_by_one": lazy_gettext("Payout approved by one of two"),
    "adjustment.approved": lazy_gettext("Adjustment approved by one of two"),
    "payout.destination_read": lazy_gettext("Payout destination shown"),
    "payout.destination_resealed": lazy_gettext("Payout destination sealed with a new key"),
    "encryption_key.rotated": lazy_gettext("Encryption key changed"),
    "signing_key.created": lazy_gettext("Key that signs receipts made"),
    "signing_key.retired": lazy_gettext("Key that signs receipts retired"),
    "period.closed": lazy_gettext("Period closed"),
    "audit.exported": lazy_gettext("Audit log exported"),
    "adjustment.created": lazy_gettext("Adjustment waits for a second admin"),
    "adjustment.posted": lazy_gettext("Adjustment posted"),
    "adjustment.canceled": lazy_gettext("Adjustment canceled"),
    "note.created": lazy_gettext("Note written"),
    "event.replayed": lazy_gettext("Webhook sent again"),
    "events.replayed": lazy_gettext("A filtered set of webhooks sent again"),
    "endpoint.created": lazy_gettext("Webhook endpoint added"),
    "endpoint.updated": lazy_gettext("Webhook endpoint changed"),
    "endpoint.deleted": lazy_gettext("Webhook endpoint deleted"),
    "endpoint.tested": lazy_gettext("Test event sent"),
    "endpoint.replay_started": lazy_gettext("A span of webhooks sent again"),
    "endpoint.disabled": lazy_gettext("Webhook endpoint stopped"),
    "endpoint.checked": lazy_gettext("Receiver checked up"),
    "endpoint.secret_shown": lazy_gettext("Webhook secret shown"),
    "endpoint.secret_rotated": lazy_gettext("Webhook secret rotated"),
    "fee_schedule.set": lazy_gettext("Fee schedule set"),
    "limit.set": lazy_gettext("Limit set"),
    "limit.removed": lazy_gettext("Limit removed"),
    "user.created": lazy_gettext("User created"),
    "user.updated": lazy_gettext("User changed"),
    "user.deleted": lazy_gettext("User deleted"),
    "user.webhook_secret_rotated": lazy_gettext("Webhook secret rotated"),
    "user.webhook_secret_shown": lazy_gettext("Webhook secret shown"),
    "api_key.created": lazy_gettext("API key created"),
    "api_key.revoked": lazy_gettext("API key revoked"),
    "session.opened": lazy_gettext("Came in"),
    "session.ended": lazy_gettext("Logins ended"),
    "second_factor.added": lazy_gettext("Second factor set up"),
    "second_factor.removed": lazy_gettext("Second factor taken away"),
    "recovery_codes.renewed": lazy_gettext("Recovery codes made anew"),
    "recovery_code.used": lazy_gettext("Recovery code used"),
}
MATCHES: Final = {
    "differing": lazy_gettext("Differing"),
    "missing_here": lazy_gettext("Only in the file"),
    "missing_there": lazy_gettext("Only in our books"),
    "matched": lazy_gettext("Agree"),
}
COLUMNS: Final = {
    "reference": lazy_gettext("Reference"),
    "amount": lazy_gettext("Amount"),
    "date": lazy_gettext("Date"),
    "time": lazy_gettext("Time"),
    "currency": lazy_gettext("Currency"),
    "direction": lazy_gettext("Direction"),
    "status": lazy_gettext("Status"),
    "fee": lazy_gettext("Fee"),
    "purpose": lazy_gettext("Purpose"),
    "counterparty": lazy_gettext("Counterparty"),
    "document": lazy_gettext("Document"),
}

KINDS: Final = {
    "transaction": lazy_gettext("Transactions"),
    "user": lazy_gettext("Users"),
    "payout": lazy_gettext("Payouts"),
    "refund": lazy_gettext("Refunds"),
    "adjustment": lazy_gettext("Adjustments"),
    "event": lazy_gettext("Events"),
    "endpoint": lazy_gettext("Endpoints"),
    "note": lazy_gettext("Notes"),
}

OUTCOMES_OF_BULK: Final = {
    "done": lazy_gettext("Done"),
    "already": lazy_gettext("Had been done before"),
    "waits": lazy_gettext("Waits for a second admin"),
    "refused": lazy_gettext("Not done"),
    "not_reached": lazy_gettext("Not reached"),
}

PERIODS: Final = {
    "24h": lazy_gettext("24 hours"),
    "7d": lazy_gettext("7 days"),
    "30d": lazy_gettext("30 days"),
}


# What a phrase of the rooms below has a code for: name of the value → words for its codes.
_CODES: Final[Mapping[str, Mapping[str, object]]] = {"field": COLUMNS, "reason": STOPS}


def label(labels: Mapping[str, object], code: str) -> str:
    """Return the label of a code, the code itself where there is none."""
    return str(labels.get(code, code))


def actor(user_id: UUID | None, name: str) -> str:
    """Return who did something: a user's own name, words for what is no user."""
    return label(ACTORS, name) if user_id is None else name


def actor_named(said: str) -> str:
    """Return the name that the audit log keeps for an actor as ``actor`` may have said it."""
    wanted = said.casefold()
    return next((name for name, words in ACTORS.items() if str(words).casefold() == wanted), said)


def describe(error: DomainError) -> str:
    """Return in one sentence, in the viewer's language, why something was not done."""
    if error.code in WITH_STATE:
        member, sentence = WITH_STATE[error.code]
        return str(sentence) % {"status": label(STATES, str(error.members.get(member, "")))}
    if isinstance(error, RefundTooLarge):
        left = formats.amount(str(error.members["refundable"]))
        return gettext(
            "Nothing was changed: %(left)s is left to refund.",
            left=f"{left} {error.members['currency']}",
        )
    if isinstance(error, NotOver):
        return gettext(
            "Nothing was closed: this period ends at %(moment)s only.",
            moment=moment_text(str(error.members["ends_at"])),
        )
    if isinstance(error, InvalidInput) and error.errors and error.code not in ERRORS:
        return " ".join(
            f"{label(FIELDS, wrong.field)}: {field_message(wrong.message)}"
            for wrong in error.errors
        )
    return str(ERRORS.get(error.code) or gettext("The present state does not allow this."))


def field_message(message: str) -> str:
    """Return what a service says about a field in the viewer's language."""
    if message.startswith(FOREIGN_HEADER):
        name = message.removeprefix(FOREIGN_HEADER)
        return gettext("must not set %(name)s, which is ours", name=name)
    if isinstance(message, Phrase):
        return said(message)
    for shape, template in SHAPES:
        if found := shape.fullmatch(message):
            return str(template) % found.groupdict()
    return gettext(message)


def said(phrase: Phrase) -> str:
    """Return a sentence of the rooms below in the viewer's language, with all that is in it."""
    values = {name: _value(name, value) for name, value in phrase.values.items()}
    return gettext(phrase.template, **values)


def _value(name: str, value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(str(_value(name, each)) for each in value)
    if isinstance(value, Phrase):
        return said(value)
    if isinstance(value, str):
        return field_message(value) if name == "problem" else label(_CODES.get(name, {}), value)
    return value


def outcome(code: str) -> str:
    """Return what came of an attempt: a label, or the status that was no success."""
    status = code.removeprefix("http_")
    return f"HTTP {status}" if status != code else label(OUTCOMES, code)
