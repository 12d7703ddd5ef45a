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


def _by_digits(currency: str, make: dict[int, str]) -> str:
    """Return a CASE over the currencies whose digits differ from the usual two."""
    groups: dict[int, list[str]] = defaultdict(list)
    for code, digits in CURRENCIES.items():
        if digits != _USUAL_DIGITS:
            groups[digits].append(f"'{code}'")
    branches = " ".join(
        f"WHEN {currency} IN ({', '.join(sorted(codes))}) THEN {make[digits]}"
        for digits, codes in sorted(groups.items())
    )
    return f"CASE {branches} ELSE {make[_USUAL_DIGITS]} END"


def digits(currency: str) -> str:
    """SQL: the number of fractional digits of the currency in expression ``currency``."""
    return _by_digits(currency, {n: str(n) for n in set(CURRENCIES.values()) | {_USUAL_DIGITS}})


def minor_units(amount: str, currency: str) -> str:
    """SQL: decimal ``amount`` in minor units, exact (numeric)."""
    powers = set(CURRENCIES.values()) | {_USUAL_DIGITS}
    return _by_digits(currency, {n: f"{amount} * {10**n}" for n in powers})


def decimal_text(minor: str, currency: str) -> str:
    """SQL: ``minor`` units as decimal text with exactly the currency's digits.

    A bigint times a numeric literal of scale n is a numeric of scale n: nothing rounds.
    """
    powers = set(CURRENCIES.values()) | {_USUAL_DIGITS}
    unit = {n: f"0.{'0' * (n - 1)}1" if n else "1" for n in powers}
    return _by_digits(currency, {n: f"({minor} * {unit[n]})::text" for n in powers})


def rfc3339(moment: str) -> str:
    """SQL: a timestamptz as RFC 3339 in UTC with microseconds and ``Z``."""
    return f"""to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def transaction_json(row: str) -> str:
    """SQL: the wire form of the columns of ``row`` (an alias) as compact json.

    ``row`` must have the columns of ``transactions``, with ``status``, ``reason`` and
    ``finished_at`` as the reader shall see them.
    """
    return f"""(SELECT row_to_json(w) FROM (SELECT
        {row}.id, {row}.user_id,
        {decimal_text(f"{row}.amount", f"{row}.currency")} AS amount,
        {row}.currency,
        trim_scale({row}.commission_rate)::text AS commission_rate,
        {decimal_text(f"{row}.commission", f"{row}.currency")} AS commission,
        {decimal_text(f"({row}.amount - {row}.commission)", f"{row}.currency")} AS net,
        {row}.status, {row}.reference, {row}.description, {row}.metadata, {row}.reason,
        {rfc3339(f"{row}.created_at")} AS created_at,
        {rfc3339(f"{row}.expires_at")} AS expires_at,
        {rfc3339(f"{row}.finished_at")} AS finished_at
    ) AS w)"""


def event_json(row: str) -> str:
    """SQL: the body of the webhook that tells how ``row`` ended (CONTRACT §3), as text.

    ``id`` and ``status`` are the transaction's, on top as well, since a simple receiver
    reads just these.
    """
    return f"""(SELECT row_to_json(e)::text FROM (SELECT
        'transaction.' || {row}.status AS type,
        {rfc3339(f"{row}.finished_at")} AS "timestamp",
        {row}.id, {row}.status,
        {transaction_json(row)} AS data
    ) AS e)"""


# What a reader sees of ``transactions t``: from ``expires_at`` on a pending one is expired,
# swept or not. One clock reading per statement, so that one answer agrees with itself.
VISIBLE = """
    t.user_id, t.id, t.amount, t.commission, t.commission_rate, t.currency,
    CASE WHEN t.status = 'pending' AND t.expires_at <= clock.now THEN 'expired' ELSE t.status END
        AS status,
    t.reference, t.description, t.metadata, t.reason, t.created_at, t.expires_at,
    CASE WHEN t.status = 'pending' AND t.expires_at <= clock.now THEN t.expires_at
        ELSE t.finished_at END AS finished_at
"""

CLOCK = "(SELECT clock_timestamp() AS now)"
