"""The transaction on the wire, as one SQL expression.

Every answer, stored answer and event payload is the text that these expressions make, so
they cannot differ from each other, and a statement that changes a transaction can write
its event and its stored answer in the same round trip.
"""

from __future__ import annotations

from collections import defaultdict

from standart.money import CURRENCIES

# What a payment of two digits (nearly all currencies) is divided by comes last, as ELSE.
_USUAL_DIGITS = 2


def unit(currency: str) -> str:
    """SQL: one minor unit of the currency in expression ``currency``, such as ``0.01``.

    Its scale is the currency's number of digits, so ``scale(unit)`` is that number and
    minor units times ``unit`` is a numeric with exactly the digits to show: nothing rounds.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for code, digits in CURRENCIES.items():
        if digits != _USUAL_DIGITS:
            groups[digits].append(f"'{code}'")
    branches = " ".join(
        f"WHEN {currency} IN ({', '.join(sorted(codes))}) THEN {_one_minor(digits)}"
        for digits, codes in sorted(groups.items())
    )
    return f"CASE {branches} ELSE {_one_minor(_USUAL_DIGITS)} END"


def _one_minor(digits: int) -> str:
    return f"0.{'1':0>{digits}}" if digits else "1::numeric"


def rfc3339(moment: str) -> str:
    """SQL: a timestamptz as RFC 3339 in UTC with microseconds and ``Z``."""
    return f"""to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def transaction_json(row: str) -> str:
    """SQL: the wire form of the columns of ``row`` (an alias) as compact json.

    ``row`` must have the columns of ``transactions`` with ``status``, ``reason`` and
    ``finished_at`` as the reader shall see them, ``unit`` (see there), ``refunded`` in minor
    units and the number of ``approvals``.
    """
    return f"""(SELECT row_to_json(w) FROM (SELECT
        {row}.id, {row}.user_id,
        ({row}.amount * {row}.unit)::text AS amount,
        {row}.currency,
        trim_scale({row}.commission_rate)::text AS commission_rate,
        ({row}.commission * {row}.unit)::text AS commission,
        (({row}.amount - {row}.commission) * {row}.unit)::text AS net,
        {row}.status, {row}.reference, {row}.description, {row}.metadata, {row}.reason,
        {rfc3339(f"{row}.created_at")} AS created_at,
        {rfc3339(f"{row}.expires_at")} AS expires_at,
        {rfc3339(f"{row}.finished_at")} AS finished_at,
        {_fee_schedule_json(row)} AS fee_schedule,
        ({row}.refunded * {row}.unit)::text AS refunded_amount,
        {row}.late_for, {row}.approvals
    ) AS w)"""


def _fee_schedule_json(row: str) -> str:
    return f"""(SELECT row_to_json(f) FROM (SELECT
            {row}.fee_schedule_id AS id,
            trim_scale({row}.commission_rate)::text AS rate,
            ({row}.fee_fixed * {row}.unit)::text AS fixed,
            ({row}.fee_minimum * {row}.unit)::text AS minimum,
            ({row}.fee_maximum * {row}.unit)::text AS maximum
        ) AS f WHERE {row}.fee_schedule_id IS NOT NULL)"""


def event_json(row: str, sequence: str, moment: str = "finished_at") -> str:
    """SQL: the body of the webhook that tells what became of ``row``, as text.

    ``row`` must have ``status``, ``id``, the ``moment`` of the change and its wire form as
    ``body``. ``id`` and ``status`` are the transaction's, on top as well, since a simple receiver
    reads just these. ``sequence`` is the number of the change, from 1: the creation.
    """
    return f"""(SELECT row_to_json(e)::text FROM (SELECT
        'transaction.' || {_EVENT_OF.format(row=row)} AS type,
        {rfc3339(f"{row}.{moment}")} AS "timestamp",
        {row}.id, {row}.status, {sequence} AS sequence, {row}.body AS data
    ) AS e)"""


# A transaction's event is named for the status it came to; a pending one was just created.
_EVENT_OF = "CASE {row}.status WHEN 'pending' THEN 'created' ELSE {row}.status END"


def may_consent(person: str, object_type: str) -> str:
    """SQL: whether the user in the alias ``person`` may agree to such a movement of money.

    Adjustments are for admins alone; all else operators settle as well.
    """
    return f"""({person}.active AND ({person}.role = 'admin'
        OR {person}.role = 'operator' AND {object_type} <> 'adjustment'))"""


def approvals(user_id: str, object_type: str, object_id: str, waits: str) -> str:
    """SQL: how many consents a movement of money has.

    While it ``waits``, a condition, those of people who may not agree any more are none.
    """
    return f"""(
        SELECT count(*) FROM approvals given
        WHERE given.user_id = {user_id} AND given.object_type = {object_type}
          AND given.object_id = {object_id}
          AND (NOT ({waits}) OR EXISTS (
              SELECT FROM users giver
              WHERE giver.id = given.approver_id
                AND {may_consent("giver", "given.object_type")}))
    )"""


_OVERDUE = "t.status = 'pending' AND t.expires_at <= clock.now"

# What a reader sees of ``transactions t``: from ``expires_at`` on a pending one is expired,
# swept or not. One clock reading per statement, so that one answer agrees with itself. The
# approvals of one that ended unpaid are those of its late payment, and of the late one too.
VISIBLE = f"""
    t.user_id, t.id, t.amount, t.commission, t.commission_rate, t.currency,
    {unit("t.currency")} AS unit,
    CASE WHEN {_OVERDUE} THEN 'expired' ELSE t.status END AS status,
    t.reference, t.description, t.metadata, t.reason, t.created_at, t.expires_at,
    CASE WHEN {_OVERDUE} THEN t.expires_at ELSE t.finished_at END AS finished_at,
    t.fee_schedule_id, t.fee_fixed, t.fee_minimum, t.fee_maximum, t.late_for,
    coalesce((
        SELECT s.refunded FROM refund_totals s
        WHERE s.user_id = t.user_id AND s.transaction_id = t.id
    ), 0) AS refunded,
    {
    approvals(
        "t.user_id",
        "CASE WHEN t.late_for IS NOT NULL OR t.status IN ('canceled', 'expired')"
        f" OR {_OVERDUE} THEN 'late_payment' ELSE 'transaction' END",
        "coalesce(t.late_for, t.id)",
        "t.status <> 'confirmed'",
    )
} AS approvals
"""

CLOCK = "(SELECT clock_timestamp() AS now)"
