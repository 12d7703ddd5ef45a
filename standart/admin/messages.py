"""The words of the domain in the viewer's language: statuses, actions and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask_babel import lazy_gettext

from standart.admin import formats
from standart.admin.language import gettext
from standart.errors import DomainError, InvalidInput, NotOver, RefundTooLarge

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
    "webhook_replay": lazy_gettext("Replay"),
}
# Where what was done came from.
CHANNELS: Final = {
    "panel": lazy_gettext("panel"),
    "api": lazy_gettext("API"),
    "cli": lazy_gettext("command line"),
    "system": lazy_gettext("the service itself"),
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
    "session.ended": lazy_gettext("Logins ended"),
    "second_factor.added": lazy_gettext("Second factor set up"),
    "second_factor.removed": lazy_gettext("Second factor taken away"),
    "recovery_codes.renewed": lazy_gettext("Recovery codes made anew"),
}
FIELDS: Final = {
    "name": lazy_gettext("Name"),
    "password": lazy_gettext("Password"),
    "role": lazy_gettext("Role"),
    "active": lazy_gettext("Active"),
    "currency": lazy_gettext("Currency"),
    "commission_rate": lazy_gettext("Commission rate"),
    "webhook_url": lazy_gettext("Webhook URL"),
    "scopes": lazy_gettext("Scopes"),
    "expires_in": lazy_gettext("Lifetime"),
    "reason": lazy_gettext("Reason"),
    "status": lazy_gettext("Status"),
    "prefix": lazy_gettext("API key"),
    "logins": lazy_gettext("Logins"),
    "unique_reference": lazy_gettext("Unique references"),
    "amount": lazy_gettext("Amount"),
    "approvals": lazy_gettext("Approvals"),
    "approved_at": lazy_gettext("Approved"),
    "commission_returned": lazy_gettext("Commission given back"),
    "created_at": lazy_gettext("Created"),
    "debited": lazy_gettext("From the merchant"),
    "finished_at": lazy_gettext("Finished"),
    "fixed": lazy_gettext("Fixed part"),
    "id": lazy_gettext("Id"),
    "internal": lazy_gettext("For admins only"),
    "kind": lazy_gettext("Kind"),
    "late_for": lazy_gettext("Late payment for"),
    "limit": lazy_gettext("Limit"),
    "maximum": lazy_gettext("At most"),
    "minimum": lazy_gettext("At least"),
    "rate": lazy_gettext("Rate"),
    "refund_commission": lazy_gettext("With its commission"),
    "starts_at": lazy_gettext("In force from"),
    "transaction_id": lazy_gettext("Transaction"),
    "user_id": lazy_gettext("User"),
    "value": lazy_gettext("Value"),
    "url": lazy_gettext("URL"),
    "event_types": lazy_gettext("Events"),
    "description": lazy_gettext("Description"),
    "headers": lazy_gettext("Headers of your own"),
    "headers_changed": lazy_gettext("Values of headers changed"),
    "rate_limit": lazy_gettext("Requests a second at most"),
    "ordered": lazy_gettext("In order"),
    "enabled": lazy_gettext("Enabled"),
    "endpoint_id": lazy_gettext("Endpoint"),
    "replay_id": lazy_gettext("Replay"),
    "since": lazy_gettext("Since"),
    "until": lazy_gettext("Until, without this moment"),
    "total": lazy_gettext("Events in the span"),
    "events": lazy_gettext("Events"),
    "deliveries": lazy_gettext("Deliveries"),
    "requeued": lazy_gettext("Sent again"),
    "answer": lazy_gettext("Answer"),
    "state": lazy_gettext("State"),
    "type": lazy_gettext("Event"),
    "password_changed": lazy_gettext("Password changed"),
    "timezone": lazy_gettext("Time zone"),
    "form": lazy_gettext("Form"),
    "actor": lazy_gettext("Who"),
    "action": lazy_gettext("What"),
    "object_type": lazy_gettext("Kind of object"),
    "object_id": lazy_gettext("Id"),
    "created_from": lazy_gettext("From"),
    "created_to": lazy_gettext("Up to"),
    "period": lazy_gettext("Period"),
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

_ERRORS: Final = {
    "unauthenticated": lazy_gettext("This login is not active any more. Log in again."),
    "forbidden": lazy_gettext("This is not allowed for you."),
    "second_person_required": lazy_gettext(
        "You have approved this already, or your login and that of who approved it come from one "
        "hand; a second admin with a login of its own must confirm as well."
    ),
    "insufficient_scope": lazy_gettext("This is not allowed for you."),
    "not_found": lazy_gettext("There is no such page or object."),
    "name_taken": lazy_gettext("A user of this name exists already."),
    "user_has_history": lazy_gettext(
        "A user with transactions cannot be deleted; deactivate it instead."
    ),
    "endpoint_limit": lazy_gettext(
        "A user may have 20 webhook endpoints at most; delete one first."
    ),
    "endpoint_not_callable": lazy_gettext(
        "No endpoint may be called: it is disabled, has no URL, or asks for other events."
    ),
    "replay_running": lazy_gettext(
        "Another replay of this endpoint is still running; wait for its end."
    ),
    "insufficient_balance": lazy_gettext(
        "Nothing was changed: less than this is available to the merchant."
    ),
    "idempotency_key_reused": lazy_gettext(
        "This form was sent before with other values, and they count. Look at what came of it."
    ),
    "idempotency_key_in_flight": lazy_gettext(
        "This form is just being carried out; look at the list in a moment."
    ),
    "too_many_requests": lazy_gettext("Too many failed logins; try again in half an hour."),
    "unavailable": lazy_gettext("The service cannot answer right now; try again."),
    "payload_too_large": lazy_gettext("This is more than the service takes at once."),
}

# What the services and the address rules say about a field. They speak English and know no
# viewer; listed here, the texts get into the catalogues.
_FIELD_MESSAGES: Final = (
    lazy_gettext("must have 1 to 128 printable characters"),
    lazy_gettext("must have 12 to 1024 characters"),
    lazy_gettext("must be valid text"),
    lazy_gettext("The last active admin must stay one."),
    lazy_gettext("is not a known currency code such as RUB or USDT"),
    lazy_gettext("must be a plain decimal number such as 0.03"),
    lazy_gettext("has more than 6 fractional digits"),
    lazy_gettext("must be between 0 and 1"),
    lazy_gettext("Name at least one scope."),
    lazy_gettext("The scope confirm is for keys of admins and operators only."),
    lazy_gettext("This role may not have all of these scopes."),
    lazy_gettext("This code is not right, or too old."),
    lazy_gettext("The lifetime must be positive."),
    lazy_gettext("must be at most 2048 characters"),
    lazy_gettext("must not contain spaces, control characters or backslashes"),
    lazy_gettext("must not contain a fragment (#)"),
    lazy_gettext("must be an absolute URL that starts with https://"),
    lazy_gettext("must not contain a user name or password"),
    lazy_gettext("needs a / between the host and the query"),
    lazy_gettext("has a malformed host or port"),
    lazy_gettext("has a host that is not a valid domain name"),
    lazy_gettext("must not have a dot at the end of the host"),
    lazy_gettext("has an IPv4 address that is not written as four decimal numbers"),
    lazy_gettext("has a malformed IPv6 address"),
    lazy_gettext("must have an IPv4 address written as such, not inside an IPv6 one"),
    lazy_gettext("must start with https://"),
    lazy_gettext("must use one of the ports 443, 8443"),
    lazy_gettext("must use one of the ports 443, 8443, 80, 8080"),
    lazy_gettext("must have a public address"),
    lazy_gettext("must have a public domain name"),
    lazy_gettext("Only the default endpoint may be without a URL."),
    lazy_gettext("This user is deactivated."),
    lazy_gettext("There is no such user."),
    lazy_gettext("must have 1 to 50 entries"),
    lazy_gettext("must not name anything twice"),
    lazy_gettext("must have at most 20 entries"),
    lazy_gettext("must not name a header twice"),
    lazy_gettext("must have a line of the form Name: value for each"),
    lazy_gettext("must have names of 1 to 100 letters, digits and !#$%&'*+-.^_`|~"),
    lazy_gettext(
        "must have values of 1 to 1024 visible ASCII characters, spaces only between them"
    ),
    lazy_gettext("must have other values than ***, which stands for one that is set already"),
    lazy_gettext("must not be blank"),
    lazy_gettext("must have at most 500 characters"),
    lazy_gettext("must not hold control characters"),
    lazy_gettext("must not hold a card number"),
    lazy_gettext("must be a whole number"),
    lazy_gettext("must be from 1 to 10000"),
    lazy_gettext("must be later than since"),
    lazy_gettext("must be in the past"),
    lazy_gettext("must be before to"),
    lazy_gettext("must be after from"),
    lazy_gettext("must be at most two years after from"),
    lazy_gettext("must be given when to is"),
    lazy_gettext("names no day or month"),
    lazy_gettext("must be a day or a month such as 2026-11-28 or 2026-11"),
    lazy_gettext("must be in the years 1 to 9999 of UTC"),
    lazy_gettext("ends a span of more than 100000 events; choose a shorter one"),
)

# What a refusal says with the state that is true now: code → (member that has it, sentence).
_WITH_STATE: Final = {
    "not_pending": (
        "transaction_status",
        lazy_gettext(
            "Nothing was changed: the transaction is not pending any more. Its status is: "
            "%(status)s."
        ),
    ),
    "payout_state": (
        "payout_status",
        lazy_gettext("Nothing was changed: the status of the payout is: %(status)s."),
    ),
    "adjustment_state": (
        "adjustment_status",
        lazy_gettext("Nothing was changed: the status of the adjustment is: %(status)s."),
    ),
    "not_confirmed": (
        "transaction_status",
        lazy_gettext(
            "Nothing was changed: only a confirmed transaction can be refunded. Its status is: "
            "%(status)s."
        ),
    ),
    "not_late": (
        "transaction_status",
        lazy_gettext(
            "Nothing was changed: only a canceled or expired transaction can be paid late. Its "
            "status is: %(status)s."
        ),
    ),
    "not_finished": (
        "transaction_status",
        lazy_gettext("There is no receipt yet: the transaction is %(status)s."),
    ),
}

_FOREIGN_HEADER: Final = "must not set "


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
    "not_reached": lazy_gettext("Not reached in time"),
}

PERIODS: Final = {
    "24h": lazy_gettext("24 hours"),
    "7d": lazy_gettext("7 days"),
    "30d": lazy_gettext("30 days"),
}


def label(labels: Mapping[str, object], code: str) -> str:
    """Return the label of a code, the code itself where there is none."""
    return str(labels.get(code, code))


def describe(error: DomainError) -> str:
    """Return in one sentence, in the viewer's language, why something was not done."""
    if error.code in _WITH_STATE:
        member, sentence = _WITH_STATE[error.code]
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
            moment=str(error.members["ends_at"]),
        )
    if isinstance(error, InvalidInput) and error.errors and error.code not in _ERRORS:
        return " ".join(
            f"{label(FIELDS, wrong.field)}: {field_message(wrong.message)}"
            for wrong in error.errors
        )
    return str(_ERRORS.get(error.code) or gettext("The present state does not allow this."))


def field_message(message: str) -> str:
    """Return what a service says about a field in the viewer's language."""
    if message.startswith(_FOREIGN_HEADER):
        name = message.removeprefix(_FOREIGN_HEADER)
        return gettext("must not set %(name)s, which is ours", name=name)
    return gettext(message)


def outcome(code: str) -> str:
    """Return what came of an attempt: a label, or the status that was no success."""
    status = code.removeprefix("http_")
    return f"HTTP {status}" if status != code else label(OUTCOMES, code)
