"""The rules of refunds, payouts, adjustments, late payments and fees, attacked by every role."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from standart.db import constraint_name, sqlstate
from standart.states import PAYOUT_TRANSITIONS, PayoutStatus
from tests.builders import row_counts
from tests.integration import test_guards
from tests.integration.attacks import DENIED, attack, born

APPEND_ONLY = {
    "refunds": "reason",
    "notes": "body",
    "approvals": "created_at",
    "fee_schedules": "fixed",
}
NEVER_DELETED = (*APPEND_ONLY, "refund_totals", "payouts", "adjustments")

REFUND = (
    "INSERT INTO refunds (user_id, id, transaction_id, amount, currency, refund_commission,"
    " commission_returned) VALUES (:{owner}, :{id}, :{of}, {amount}, '{currency}', {wanted},"
    " {returned})"
)
TOTAL = "INSERT INTO refund_totals (user_id, transaction_id, amount, refunded) VALUES "
MORE = "UPDATE refund_totals SET refunded = refunded + {}"
DELTA = "INSERT INTO balance_deltas (user_id, currency, kind, amount) VALUES "
PAYOUT = "INSERT INTO payouts (user_id, id, amount, currency{}) VALUES (:shop, :new, {}, '{}'{})"
ADJUSTMENT = (
    "INSERT INTO adjustments (user_id, id, kind, amount, currency, reason, status, finished_at)"
    " VALUES (:{owner}, :{id}, '{kind}', {amount}, '{currency}', {reason}, '{status}', {finished})"
)
JOURNAL = "INSERT INTO journals (user_id, id, kind, {}, entry_count) VALUES "
ENTRIES = "INSERT INTO entries (user_id, journal_id, line, currency, kind, amount) VALUES "
EVENT = (
    "INSERT INTO events (user_id, id, sequence, {}, type, payload) VALUES (:shop, :new_event, 1, "
)
APPROVAL = (
    "INSERT INTO approvals (user_id, object_type, object_id, approver_id, hands, act_id)"
    " VALUES (:{owner}, '{kind}', :{of}, :{by}, ARRAY[{hands}]::uuid[], :new)"
)
NOTE = "INSERT INTO notes (user_id, id, transaction_id, author_name, body) VALUES "
FEE = "INSERT INTO fee_schedules (user_id, id, currency, rate, fixed, minimum, maximum) VALUES "
LIMIT = "INSERT INTO limits (user_id, kind, currency, value) VALUES "


def refund(**changes: str) -> str:
    usual = {"owner": "shop", "id": "new", "of": "confirmed", "amount": "10", "currency": "RUB"}
    return REFUND.format(**(usual | {"wanted": "false", "returned": "0"} | changes))


def adjustment(**changes: str) -> str:
    usual = {"owner": "shop", "id": "new", "kind": "adjustment", "amount": "10", "currency": "RUB"}
    return ADJUSTMENT.format(
        **(usual | {"reason": "'why'", "status": "pending", "finished": "NULL"} | changes)
    )


def payout(amount: str = "10", currency: str = "RUB", **more: str) -> str:
    columns = "".join(f", {name}" for name in more)
    values = "".join(f", {value}" for value in more.values())
    return PAYOUT.format(columns, amount, currency, values)


def approval(**changes: str) -> str:
    usual = {"owner": "shop", "kind": "adjustment", "of": "waiting", "by": "approver"}
    asked = usual | changes
    return APPROVAL.format(**({"hands": f":{asked['by']}"} | asked))


def posts(kind: str, column: str, source: str, *lines: tuple[str, int]) -> list[str]:
    """A journal of a source with its lines, in roubles."""
    entries = ", ".join(
        f"(:shop, :new, {number}, 'RUB', '{account}', {amount})"
        for number, (account, amount) in enumerate(lines, 1)
    )
    journal = JOURNAL.format(column) + f"(:shop, :new, '{kind}', :{source}, {len(lines)})"
    return [journal, ENTRIES + entries]


def tells(column: str, source: str, kind: str) -> str:
    return EVENT.format(column) + f":{source}, '{kind}', '{{}}')"


def goes(name: str, status: str, **more: str) -> str:
    """The step of a payout, with the moments that its new status needs."""
    approved = "clock_timestamp()" if status in ("approved", "paid", "failed") else "NULL"
    finished = "NULL" if status in ("pending", "approved") else "clock_timestamp()"
    return (
        f"UPDATE payouts SET status = '{status}', approved_at = {approved},"
        f" finished_at = {finished} WHERE id = :{name}"
    )


def late(of: str, **changes: str) -> str:
    """A confirmed transaction that names an old one; the shop's have reference ``r``."""
    usual = {"amount": "10000", "commission": "300", "status": "confirmed", "finished": "now()"}
    return born({"late_for": f":{of}", "reference": "'r'"}, **(usual | changes))


def fee(*, commission: str = "50", **columns: str) -> str:
    usual = {"fee_schedule_id": ":schedule", "fee_fixed": "30", "fee_minimum": "50"}
    return born({**usual, **columns}, currency="USD", rate="0.02", commission=commission)


OUT = (("available", -10), ("clearing", 10))
REFUNDED = [refund(), MORE.format(10)]
RETURNED = (("pending_payout", -5000), ("available", 5000))
SEVENTY = (("available", 77700), ("adjustment", -77700))
POSTED = "UPDATE adjustments SET status = 'posted', finished_at = now() WHERE id = :waiting"
TOO_LONG = "repeat('x', 501)"

REFUSED = {
    # Refunds.
    "refund of nothing": ([refund(amount="0")], "ck_refunds_amount_range"),
    "refund of less than nothing": ([refund(amount="-1")], "ck_refunds_amount_range"),
    "refund of too much": ([refund(amount="1000000000000001")], "ck_refunds_amount_range"),
    "refund in no currency": ([refund(currency="rub")], "ck_refunds_currency_code"),
    "refund of more commission than money": (
        [refund(wanted="true", returned="11")],
        "ck_refunds_commission_range",
    ),
    "refund of negative commission": (
        [refund(wanted="true", returned="-1")],
        "ck_refunds_commission_range",
    ),
    "refund of commission nobody wanted": (
        [refund(returned="1")],
        "ck_refunds_commission_when_wanted",
    ),
    "refund for a long reason": (
        [refund().replace(") VALUES", ", reason) VALUES").replace("0)", f"0, {TOO_LONG})")],
        "ck_refunds_reason_length",
    ),
    "refund across tenants": ([refund(owner="other")], "fk_refunds_transactions"),
    "taken id of a refund": ([refund(owner="other", id="refund")], "uq_refunds_id"),
    "refund twice": ([refund(id="refund")], "pk_refunds"),
    "refund that the sum does not know": ([refund()], "refunds_add_up"),
    "sum that no refund knows": ([MORE.format(10)], "refunds_add_up"),
    "refund of more than was paid": (
        [refund(amount="4668"), MORE.format(4668)],
        "ck_refund_totals_refunded_range",
    ),
    "refund of more than was paid, by a false sum": (
        [refund(amount="4668"), "UPDATE refund_totals SET amount = 10001, refunded = 10001"],
        "refunds_add_up",
    ),
    "sum of nothing": (
        ["UPDATE refund_totals SET refunded = 0"],
        "ck_refund_totals_refunded_range",
    ),
    "sum across tenants": (
        [TOTAL + "(:other, :confirmed, 10000, 10)"],
        "fk_refund_totals_transactions",
    ),
    "second sum": ([TOTAL + "(:shop, :confirmed, 10000, 10)"], "pk_refund_totals"),
    "refund of a pending one": (
        [refund(of="pending"), TOTAL + "(:shop, :pending, 10000, 10)"],
        "refunds_add_up",
    ),
    "refund of a canceled one": (
        [refund(of="canceled"), TOTAL + "(:shop, :canceled, 10000, 10)"],
        "refunds_add_up",
    ),
    "refund in another currency": ([refund(currency="USD"), MORE.format(10)], "refunds_add_up"),
    "refund of more commission than was taken": (
        [refund(amount="201", wanted="true", returned="201"), MORE.format(201)],
        "refunds_add_up",
    ),
    "refund without journal": (
        [*REFUNDED, tells("refund_id", "new", "refund.created")],
        "refund_is_booked",
    ),
    "refund without event": (
        [*REFUNDED, *posts("refund", "refund_id", "new", *OUT)],
        "refund_is_booked",
    ),
    "refund with another event": (
        [
            *REFUNDED,
            *posts("refund", "refund_id", "new", *OUT),
            tells("refund_id", "new", "refund.undone"),
        ],
        "refund_is_booked",
    ),
    "refund of another sum than posted": (
        [
            *posts("refund", "refund_id", "new", ("available", -9), ("clearing", 9)),
            *REFUNDED,
            tells("refund_id", "new", "refund.created"),
        ],
        # The journal names a refund that comes after it.
        "fk_journals_refunds",
    ),
    "refund that the commission pays": (
        [*REFUNDED, *posts("refund", "refund_id", "new", ("commission", -10), ("clearing", 10))],
        "refund_is_booked",
    ),
    # Journals.
    "journal of two sources": (
        [JOURNAL.format("refund_id, payout_id") + "(:shop, :new, 'refund', :refund, :reserved, 2)"],
        "ck_journals_has_its_source",
    ),
    "journal of another kind of source": (
        posts("refund", "payout_id", "reserved", *OUT),
        "ck_journals_has_its_source",
    ),
    "journal of an unknown kind": (
        posts("gift", "payout_id", "reserved", *OUT),
        "ck_journals_kind",
    ),
    "second journal of a refund": (
        posts("refund", "refund_id", "refund", *OUT),
        "uq_journals_refund",
    ),
    "second journal of a kind of a payout": (
        posts("payout_reserved", "payout_id", "reserved", *OUT),
        "uq_journals_payout",
    ),
    "second journal of an adjustment": (
        posts("adjustment", "adjustment_id", "credit", *OUT),
        "uq_journals_adjustment",
    ),
    "refund's journal across tenants": (
        [JOURNAL.format("refund_id") + "(:other, :new, 'refund', :refund, 2)"],
        "fk_journals_refunds",
    ),
    "payout's journal across tenants": (
        [JOURNAL.format("payout_id") + "(:other, :new, 'payout_paid', :reserved, 2)"],
        "fk_journals_payouts",
    ),
    "adjustment's journal across tenants": (
        [JOURNAL.format("adjustment_id") + "(:other, :new, 'adjustment', :waiting, 2)"],
        "fk_journals_adjustments",
    ),
    "journal of another sum": (
        [
            goes("reserved", "canceled"),
            *posts(
                "payout_returned",
                "payout_id",
                "reserved",
                ("pending_payout", -4999),
                ("available", 4999),
            ),
            tells("payout_id", "reserved", "payout.canceled"),
        ],
        "journal_matches_source",
    ),
    "journal of other accounts": (
        [
            goes("reserved", "canceled"),
            *posts(
                "payout_returned", "payout_id", "reserved", ("clearing", -5000), ("available", 5000)
            ),
            tells("payout_id", "reserved", "payout.canceled"),
        ],
        "journal_matches_source",
    ),
    "journal of more lines": (
        [
            goes("reserved", "canceled"),
            *posts(
                "payout_returned",
                "payout_id",
                "reserved",
                *RETURNED,
                ("commission", -5),
                ("adjustment", 5),
            ),
            tells("payout_id", "reserved", "payout.canceled"),
        ],
        "journal_matches_source",
    ),
    "given back while it waits": (
        posts("payout_returned", "payout_id", "reserved", *RETURNED),
        "journal_matches_source",
    ),
    "paid while it waits": (
        posts(
            "payout_paid", "payout_id", "reserved", ("pending_payout", -5000), ("clearing", 5000)
        ),
        "journal_matches_source",
    ),
    "given back after it was paid": (
        posts(
            "payout_returned",
            "payout_id",
            "payout_paid",
            ("pending_payout", -1500),
            ("available", 1500),
        ),
        "journal_matches_source",
    ),
    "journal of an adjustment that waits": (
        posts("adjustment", "adjustment_id", "waiting", *SEVENTY),
        "journal_matches_source",
    ),
    "opening balance of a correction": (
        [
            POSTED,
            *posts(
                "opening_balance",
                "adjustment_id",
                "waiting",
                ("available", 77700),
                ("clearing", -77700),
            ),
            tells("adjustment_id", "waiting", "balance.adjusted"),
        ],
        "journal_matches_source",
    ),
    # Payouts.
    "payout of nothing": ([payout("0")], "ck_payouts_amount_range"),
    "payout of too much": ([payout("1000000000000001")], "ck_payouts_amount_range"),
    "payout in no currency": ([payout(currency="rub")], "ck_payouts_currency_code"),
    "payout to somewhere that is not shown": (
        [payout(destination="'\\x00'")],
        "ck_payouts_destination_shown_masked",
    ),
    "payout to nowhere": (
        [payout(destination_shown="'{}'")],
        "ck_payouts_destination_shown_masked",
    ),
    "pending payout with an end": ([payout(finished_at="now()")], "ck_payouts_finished_when_ended"),
    "ended payout without an end": (
        [payout(status="'canceled'")],
        "ck_payouts_finished_when_ended",
    ),
    "pending payout that is approved": (
        [payout(approved_at="now()")],
        "ck_payouts_approved_before_paid",
    ),
    "paid payout that nobody approved": (
        [payout(status="'paid'", finished_at="now()")],
        "ck_payouts_approved_before_paid",
    ),
    "payout of an unknown status": (
        [payout(status="'lost'", finished_at="now()")],
        "ck_payouts_status",
    ),
    "payout with an empty reference": ([payout(reference="''")], "ck_payouts_reference_length"),
    "payout for a long reason": ([payout(reason=TOO_LONG)], "ck_payouts_reason_length"),
    "payout of nobody": ([payout().replace(":shop", ":new_event")], "fk_payouts_users"),
    "taken id of a payout": (
        [payout().replace(":new", ":reserved").replace(":shop", ":other")],
        "uq_payouts_id",
    ),
    "payout without journal": (
        [payout(), tells("payout_id", "new", "payout.created")],
        "payout_is_booked",
    ),
    "payout without event": (
        [
            payout(),
            *posts(
                "payout_reserved", "payout_id", "new", ("available", -10), ("pending_payout", 10)
            ),
        ],
        "payout_is_booked",
    ),
    "payout approved without event": ([goes("reserved", "approved")], "payout_is_booked"),
    "payout canceled without journal": (
        [goes("reserved", "canceled"), tells("payout_id", "reserved", "payout.canceled")],
        "payout_is_booked",
    ),
    "payout canceled without event": (
        [
            goes("reserved", "canceled"),
            *posts("payout_returned", "payout_id", "reserved", *RETURNED),
        ],
        "payout_is_booked",
    ),
    "payout paid without journal": (
        [goes("approved", "paid"), tells("payout_id", "approved", "payout.paid")],
        "payout_is_booked",
    ),
    # Adjustments.
    "adjustment of nothing": ([adjustment(amount="0")], "ck_adjustments_amount_range"),
    "adjustment of too much": (
        [adjustment(amount="1000000000000001")],
        "ck_adjustments_amount_range",
    ),
    "adjustment of too little": (
        [adjustment(amount="-1000000000000001")],
        "ck_adjustments_amount_range",
    ),
    "negative opening balance": (
        [adjustment(kind="opening_balance", amount="-1")],
        "ck_adjustments_opening_not_negative",
    ),
    "second opening balance": (
        [adjustment(kind="opening_balance", status="posted", finished="now()")],
        "uq_adjustments_opening",
    ),
    "adjustment in no currency": ([adjustment(currency="rub")], "ck_adjustments_currency_code"),
    "adjustment without a reason": ([adjustment(reason="''")], "ck_adjustments_reason_length"),
    "adjustment for a long reason": (
        [adjustment(reason=TOO_LONG)],
        "ck_adjustments_reason_length",
    ),
    "pending adjustment with an end": (
        [adjustment(finished="now()")],
        "ck_adjustments_finished_when_ended",
    ),
    "adjustment of an unknown kind": ([adjustment(kind="gift")], "ck_adjustments_kind"),
    "adjustment of an unknown status": (
        [adjustment(status="lost", finished="now()")],
        "ck_adjustments_status",
    ),
    "adjustment of nobody": ([adjustment(owner="new_event")], "fk_adjustments_users"),
    "taken id of an adjustment": (
        [adjustment(owner="other", id="waiting")],
        "uq_adjustments_id",
    ),
    "adjustment posted without journal": (
        [POSTED, tells("adjustment_id", "waiting", "balance.adjusted")],
        "adjustment_is_booked",
    ),
    "adjustment posted without event": (
        [POSTED, *posts("adjustment", "adjustment_id", "waiting", *SEVENTY)],
        "adjustment_is_booked",
    ),
    "adjustment told of and not posted": (
        [adjustment(), tells("adjustment_id", "new", "balance.adjusted")],
        "adjustment_is_booked",
    ),
    "adjustment born posted": (
        [adjustment(status="posted", finished="now()")],
        "adjustment_is_booked",
    ),
    # Approvals, notes, fee schedules, limits.
    "second approval of one person": (
        [approval()],
        "pk_approvals",
    ),
    "approval of an unknown kind": (
        [approval(kind="gift", of="new", by="shop")],
        "ck_approvals_object_type",
    ),
    "approval by nobody": (
        [approval(by="new")],
        "fk_approvals_approvers",
    ),
    "approval for nobody": (
        [approval(owner="new", kind="payout", of="new", by="shop")],
        "fk_approvals_users",
    ),
    "approval by a hand of another": (
        [approval(by="shop", hands=":approver")],
        "ck_approvals_approver_has_a_hand",
    ),
    "second approval that the first one's hands may have given": (
        [
            "UPDATE users SET role = 'admin' WHERE id = :approver",
            approval(by="shop", hands=":shop, :approver"),
        ],
        "two_pairs_of_hands",
    ),
    "empty note": ([NOTE + "(:shop, :new, :confirmed, 'x', '')"], "ck_notes_body_length"),
    "long note": (
        [NOTE + "(:shop, :new, :confirmed, 'x', repeat('x', 2001))"],
        "ck_notes_body_length",
    ),
    "note across tenants": (
        [NOTE + "(:other, :new, :confirmed, 'x', 'x')"],
        "fk_notes_transactions",
    ),
    "taken id of a note": ([NOTE + "(:other, :note, :confirmed, 'x', 'x')"], "uq_notes_id"),
    "note by nobody": (
        [
            (
                "INSERT INTO notes (user_id, id, transaction_id, author_id, author_name, body)"
                " VALUES (:shop, :new, :confirmed, :new_event, 'x', 'x')"
            )
        ],
        "fk_notes_users",
    ),
    "fee above all": (
        [FEE + "(:shop, :new, 'RUB', 1.01, 0, 0, NULL)"],
        "ck_fee_schedules_rate_range",
    ),
    "negative fee": (
        [FEE + "(:shop, :new, 'RUB', -0.01, 0, 0, NULL)"],
        "ck_fee_schedules_rate_range",
    ),
    "negative fixed part": (
        [FEE + "(:shop, :new, 'RUB', 0, -1, 0, NULL)"],
        "ck_fee_schedules_fixed_range",
    ),
    "negative minimum": (
        [FEE + "(:shop, :new, 'RUB', 0, 0, -1, NULL)"],
        "ck_fee_schedules_minimum_range",
    ),
    "maximum below the minimum": (
        [FEE + "(:shop, :new, 'RUB', 0, 0, 2, 1)"],
        "ck_fee_schedules_maximum_range",
    ),
    "plain rate with a fixed part": (
        [FEE + "(:shop, :new, 'RUB', NULL, 1, 0, NULL)"],
        "ck_fee_schedules_plain_is_plain",
    ),
    "fee in no currency": (
        [FEE + "(:shop, :new, 'rub', 0, 0, 0, NULL)"],
        "ck_fee_schedules_currency_code",
    ),
    "fee of nobody": ([FEE + "(:new, :new, 'RUB', 0, 0, 0, NULL)"], "fk_fee_schedules_users"),
    "limit below nothing": (
        [LIMIT + "(:shop, 'daily_count', '*', -1)"],
        "ck_limits_value_not_negative",
    ),
    "count in a currency": (
        [LIMIT + "(:shop, 'daily_count', 'RUB', 1)"],
        "ck_limits_currency_of_amounts",
    ),
    "sum in every currency": (
        [LIMIT + "(:shop, 'daily_amount', '*', 1)"],
        "ck_limits_currency_of_amounts",
    ),
    "limit of an unknown kind": ([LIMIT + "(:shop, 'hourly', '*', 1)"], "ck_limits_kind"),
    "second limit of a kind": ([LIMIT + "(:shop, 'daily_amount', 'RUB', 1)"], "pk_limits"),
    "limit of nobody": ([LIMIT + "(:new, 'daily_count', '*', 1)"], "fk_limits_users"),
    # Late payments, fees and references of transactions.
    "late for a pending one": ([late("pending")], "late_matches_its_transaction"),
    "late for a confirmed one": ([late("confirmed")], "late_matches_its_transaction"),
    "late with another amount": (
        [late("expired", amount="10001")],
        "late_matches_its_transaction",
    ),
    "late with another rate": (
        [late("expired", rate="0.030001")],
        "late_matches_its_transaction",
    ),
    "late in another currency": ([late("expired", currency="USD")], "late_matches_its_transaction"),
    "late with another reference": (
        [late("expired").replace("'r'", "'s'")],
        "late_matches_its_transaction",
    ),
    "late without settlement": ([late("expired")], "confirmed_is_settled"),
    "late twice": ([late("canceled")], "uq_transactions_late_for"),
    "late for itself": ([late("new")], "ck_transactions_late_is_paid"),
    "late and pending": (
        [late("expired", status="pending", finished="NULL")],
        "ck_transactions_late_is_paid",
    ),
    "late across tenants": (
        [late("expired").replace(":shop", ":other")],
        "fk_transactions_transactions",
    ),
    "fee without schedule": ([fee(fee_schedule_id="NULL")], "ck_transactions_fee_of_its_schedule"),
    "schedule without fixed part": ([fee(fee_fixed="NULL")], "ck_transactions_fee_of_its_schedule"),
    "schedule without minimum": (
        [fee(fee_minimum="NULL", commission="32")],
        "ck_transactions_fee_of_its_schedule",
    ),
    "maximum without schedule": (
        [born({"fee_maximum": "5"})],
        "ck_transactions_fee_of_its_schedule",
    ),
    "fee below the minimum": ([fee(fee_minimum="51")], "ck_transactions_commission_rule"),
    "fee above the maximum": (
        [fee(fee_maximum="49", fee_minimum="0")],
        "ck_transactions_commission_rule",
    ),
    "fee of another fixed part": (
        [fee(fee_fixed="60", fee_minimum="0")],
        "ck_transactions_commission_rule",
    ),
    "fee across tenants": (
        [fee().replace(":shop", ":other")],
        "fk_transactions_fee_schedules",
    ),
    "unique reference that is none": (
        [born({"unique_reference": "true"})],
        "ck_transactions_unique_needs_one",
    ),
    "unique reference twice": (
        [
            born({"unique_reference": "true", "reference": "'one'"}),
            born({"unique_reference": "true", "reference": "'one'"}).replace(
                ":new,", ":new_event,"
            ),
        ],
        "uq_transactions_reference",
    ),
    # Events and accounts.
    "event about nothing": (
        [EVENT.format("refund_id") + "NULL, 'refund.created', '{}')"],
        "ck_events_about_one_object",
    ),
    "event about two objects": (
        [EVENT.format("refund_id, payout_id") + ":refund, :reserved, 'refund.created', '{}')"],
        "ck_events_about_one_object",
    ),
    "second event of a refund": (
        [tells("refund_id", "refund", "refund.created")],
        "uq_events_refund",
    ),
    "second event of a payout": (
        [tells("payout_id", "reserved", "payout.created")],
        "uq_events_payout",
    ),
    "second event of an adjustment": (
        [tells("adjustment_id", "credit", "balance.adjusted")],
        "uq_events_adjustment",
    ),
    "refund's event across tenants": (
        [tells("refund_id", "refund", "x").replace(":shop", ":other")],
        "fk_events_refunds",
    ),
    "payout's event across tenants": (
        [tells("payout_id", "reserved", "x").replace(":shop", ":other")],
        "fk_events_payouts",
    ),
    "adjustment's event across tenants": (
        [tells("adjustment_id", "waiting", "x").replace(":shop", ":other")],
        "fk_events_adjustments",
    ),
    "event of no change": (
        [tells("payout_id", "payout_paid", "x").replace(":new_event, 1", ":new_event, 0")],
        "ck_events_sequence_positive",
    ),
    "event about a payout and an endpoint": (
        [EVENT.format("payout_id, endpoint_id") + ":reserved, :shop, 'ping', '{}')"],
        "ck_events_about_one_object",
    ),
    "endpoint's event across tenants": (
        [tells("endpoint_id", "other", "ping")],
        "fk_events_webhook_endpoints",
    ),
    "overdrawn": (
        ["UPDATE accounts SET balance = -1 WHERE kind = 'available'"],
        "ck_accounts_guarded_not_negative",
    ),
    "reserve overdrawn": (
        ["UPDATE accounts SET balance = -1 WHERE kind = 'pending_payout'"],
        "ck_accounts_guarded_not_negative",
    ),
    "debit by a delta": (
        [DELTA + "(:shop, 'RUB', 'available', -1)"],
        "ck_balance_deltas_guarded_only_add",
    ),
    "account of an unknown kind": (
        ["INSERT INTO accounts VALUES (:shop, 'RUB', 'gifts', 1)"],
        "ck_accounts_kind",
    ),
    "account of nobody": (
        ["INSERT INTO accounts VALUES (:new, 'RUB', 'available', 1)"],
        "fk_accounts_users",
    ),
    "delta of an unknown kind": (
        [DELTA + "(:shop, 'RUB', 'gifts', 1)"],
        "ck_balance_deltas_kind",
    ),
    "entry of an unknown kind": (
        [ENTRIES + "(:shop, :journal, 4, 'RUB', 'gifts', 1)"],
        "ck_entries_kind",
    ),
    "taken id of an event": (
        [
            tells("payout_id", "payout_paid", "x")
            .replace(":new_event", ":event")
            .replace(":shop", ":other")
        ],
        "uq_events_id",
    ),
    "fee of the same moment": (
        [
            (
                "INSERT INTO fee_schedules (user_id, id, currency, rate, starts_at, created_at)"
                " SELECT user_id, :new, currency, rate, starts_at, created_at FROM fee_schedules"
                " WHERE id = :schedule"
            )
        ],
        "uq_fee_schedules_user_id_currency_starts_at_created_at",
    ),
    "transaction with an empty reference": (
        [born({"reference": "''"})],
        "ck_transactions_reference_length",
    ),
    "transaction with a long description": (
        [born({"description": TOO_LONG})],
        "ck_transactions_description_length",
    ),
    "transaction with a long reason": (
        [born({"reason": TOO_LONG})],
        "ck_transactions_reason_length",
    ),
    "transaction with a list": (
        [born({"metadata": "'[]'"})],
        "ck_transactions_metadata_is_object",
    ),
    "key of an unknown scope": (
        ["UPDATE api_keys SET scopes = ARRAY['read', 'everything'] WHERE user_id = :shop"],
        "ck_api_keys_scopes_known",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_database_refuses(
    roles: dict[str, Engine], books: dict[str, Any], connection: Connection, case: str
) -> None:
    statements, constraint = REFUSED[case]
    before = row_counts(connection)

    for name, role in roles.items():
        error = attack(role, books, *statements)
        # What the application's role may not even try is refused before the rule is asked.
        if name != "application" or sqlstate(error) != DENIED:
            assert constraint_name(error) == constraint, str(error)

    assert row_counts(connection) == before


STEPS = [
    pair
    for pair in product(PayoutStatus, PayoutStatus)
    if pair not in {(source, target) for (source, _), target in PAYOUT_TRANSITIONS.items()}
]


@pytest.mark.parametrize(("source", "target"), STEPS)
def test_a_payout_goes_no_other_way(
    roles: dict[str, Engine], books: dict[str, Any], source: PayoutStatus, target: PayoutStatus
) -> None:
    open_ones = {PayoutStatus.PENDING: "reserved", PayoutStatus.APPROVED: "approved"}
    name = open_ones.get(source, f"payout_{source}")
    for role in roles.values():
        assert constraint_name(attack(role, books, goes(name, target))) == "payout_goes_on"


@pytest.mark.parametrize(
    "change",
    [
        "amount = amount + 1",
        "currency = 'USD'",
        "reference = 'other'",
        "destination = '\\x01'",
        'destination_shown = \'{"iban": "other"}\'',
        "destination = NULL, destination_shown = NULL",
        "created_at = created_at - interval '1 second'",
        "user_id = :other",
        "id = :new",
    ],
)
def test_the_terms_of_a_payout_never_change(
    roles: dict[str, Engine], books: dict[str, Any], change: str
) -> None:
    moved = "status = 'approved', approved_at = now()"
    for role in roles.values():
        statement = f"UPDATE payouts SET {moved}, {change} WHERE id = :reserved"
        assert constraint_name(attack(role, books, statement)) == "payout_goes_on"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("credit", "status = 'canceled'"),
        ("credit", "status = 'pending', finished_at = NULL"),
        ("opening", "reason = 'other'"),
        ("waiting", "amount = 1"),
        ("waiting", "amount = -amount"),
        ("waiting", "kind = 'opening_balance'"),
        ("waiting", "currency = 'USD'"),
        ("waiting", "reason = 'other'"),
        ("waiting", "user_id = :other"),
        ("waiting", "id = :new"),
        ("waiting", "created_at = now() - interval '1 day'"),
    ],
)
def test_an_adjustment_is_posted_as_it_was_asked_for_and_is_final(
    roles: dict[str, Engine], books: dict[str, Any], name: str, change: str
) -> None:
    for role in roles.values():
        error = attack(role, books, f"UPDATE adjustments SET {change} WHERE id = :{name}")
        assert constraint_name(error) == "adjustment_is_final"


@pytest.mark.parametrize(
    "change",
    [
        "late_for = :canceled",
        "fee_schedule_id = :schedule, fee_fixed = 0, fee_minimum = 0",
        "fee_maximum = 1",
        "reference = 'r2', unique_reference = true",
        "unique_reference = true",
    ],
)
def test_the_new_terms_of_a_transaction_never_change(
    roles: dict[str, Engine], books: dict[str, Any], change: str
) -> None:
    for role in roles.values():
        error = attack(role, books, f"UPDATE transactions SET {change} WHERE id = :pending")
        assert "a terminal status and the terms of a transaction are final" in str(error)


@pytest.mark.parametrize("table", NEVER_DELETED)
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_history_is_not_deleted(
    roles: dict[str, Engine],
    books: dict[str, Any],
    table: str,
    verb: str,
    connection: Connection,
) -> None:
    before = row_counts(connection)

    errors = {name: attack(role, books, verb.format(table)) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is kept" in str(error)
    assert row_counts(connection) == before


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_history_is_not_rewritten(
    roles: dict[str, Engine], books: dict[str, Any], table: str
) -> None:
    statement = f"UPDATE {table} SET {APPEND_ONLY[table]} = {APPEND_ONLY[table]}"

    errors = {name: attack(role, books, statement) for name, role in roles.items()}

    assert sqlstate(errors.pop("application")) == DENIED
    for error in errors.values():
        assert "history is append-only" in str(error)


BOOKS = (*NEVER_DELETED, "limits", "transactions", "accounts", "balance_deltas")
BOOKS += ("journals", "entries", "events")


def test_every_rule_of_the_books_has_been_attacked(connection: Connection) -> None:
    """A new CHECK, unique index or foreign key fails this until somebody attacks it."""
    rules = connection.scalars(
        text(
            "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f', 'u')"
            " AND conrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique"
            " AND NOT indisprimary AND indrelid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))"
        ),
        {"tables": list(BOOKS)},
    )
    attacks = (*REFUSED.values(), *test_guards.REFUSED.values())
    assert set(rules) <= {constraint for _, constraint in attacks}
