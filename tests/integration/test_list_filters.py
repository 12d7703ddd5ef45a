"""Lists by what a reference starts with and by metadata: exact, owner-scoped, index-served."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from standart.encryption import Keyring
from standart.services import transaction_list
from standart.services.transaction_list import first_beyond
from tests.builders import TestUser, make_transaction, make_user
from tests.integration.limits import want_unique_references

LAST = chr(0x10FFFF)

REFERENCES = [
    "order-1",
    "order-10",
    "order-2",
    "order",
    "Order-1",
    "order_1",
    "orders%",
    "заказ-7",
    "заказ-77",
    "ордер",
    "é",
    "e\u0301",
    "a\ud7ff!",
    "a\ue000!",
    LAST,
    LAST + "x",
    "order-1" + LAST,
    "~",
    "\U0001f600 tickets",
]

# What the database would say of each prefix if it read every row.
PREFIXES = ["o", "order", "order-", "order-1", "O", "orders%", "order_", "з", "заказ-7", "é", "e"]
PREFIXES += ["a\ud7ff", LAST, LAST + "x", "order-1" + LAST, "~", "\U0001f600", "nothing", "%", "_"]


@pytest.fixture
def shop(engine: Engine, merchant: TestUser, keyring: Keyring) -> TestUser:
    """A merchant with a transaction of each reference; another one has the same."""
    for owner in (merchant, make_user(engine, keyring)):
        for reference in REFERENCES:
            make_transaction(engine, owner, reference=reference)
        make_transaction(engine, owner)
    return merchant


def listed(connection: Connection, caller: TestUser, **filters: Any) -> list[dict[str, Any]]:
    rows = transaction_list.list_transactions(connection, caller.actor, limit=100, **filters)
    return [json.loads(row[0]) for row in rows]


def test_a_prefix_finds_what_starts_with_it_and_nothing_else(
    connection: Connection, shop: TestUser
) -> None:
    for prefix in PREFIXES:
        found = listed(connection, shop, reference_prefix=prefix)
        wanted = [each for each in reversed(REFERENCES) if each.startswith(prefix)]
        assert [each["reference"] for each in found] == wanted, prefix
        assert {each["user_id"] for each in found} <= {str(shop.id)}


def test_a_prefix_goes_with_the_other_filters(connection: Connection, shop: TestUser) -> None:
    found = listed(connection, shop, reference_prefix="order-", reference="order-2")
    assert [each["reference"] for each in found] == ["order-2"]
    assert listed(connection, shop, reference_prefix="order-", reference="order") == []
    assert listed(connection, shop, reference_prefix="order-", currency="USD") == []


# No surrogates: they are no text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(prefix=TEXTS, other=TEXTS)
def test_the_range_of_a_prefix_is_exactly_what_starts_with_it(prefix: str, other: str) -> None:
    beyond = first_beyond(prefix)
    for candidate in (other, prefix + other, prefix):
        data = candidate.encode()
        within = prefix.encode() <= data and (beyond is None or data < beyond.encode())
        assert within == candidate.startswith(prefix)


@pytest.fixture
def tagged(engine: Engine, merchant: TestUser, keyring: Keyring) -> TestUser:
    for owner in (merchant, make_user(engine, keyring)):
        for metadata in (
            {"cart": "17"},
            {"cart": "17", "note": "gift"},
            {"cart": "18"},
            {"Cart": "17"},
            {"note": "cart"},
            {"empty": "", "a.b-c_d": 'quote " and \\ back'},
            {},
        ):
            make_transaction(engine, owner, metadata=metadata)
    return merchant


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [
        ("cart", None, 3),
        ("cart", "17", 2),
        ("cart", "1", 0),
        ("cart", "", 0),
        ("Cart", None, 1),
        ("empty", "", 1),
        ("empty", None, 1),
        ("a.b-c_d", 'quote " and \\ back', 1),
        ("note", "cart", 1),
        ("17", None, 0),
    ],
)
def test_metadata_is_found_by_key_and_by_pair(
    connection: Connection, tagged: TestUser, key: str, value: str | None, count: int
) -> None:
    found = listed(connection, tagged, metadata_key=key, metadata_value=value)

    assert len(found) == count
    for each in found:
        assert each["user_id"] == str(tagged.id)
        assert each["metadata"][key] == (value if value is not None else each["metadata"][key])


def test_the_filters_over_http_page_and_keep_their_cursor_to_themselves(
    client: FlaskClient, shop: TestUser
) -> None:
    def get(**query: str) -> Any:
        return client.get("/transactions", query_string=query, headers=shop.headers)

    first = get(reference_prefix="order", limit="4").json
    second = get(reference_prefix="order", limit="4", cursor=first["next_cursor"]).json
    names = [each["reference"] for each in first["data"] + second["data"]]
    assert names == [each for each in reversed(REFERENCES) if each.startswith("order")]
    assert second["next_cursor"] is None
    other = get(reference_prefix="orde", cursor=first["next_cursor"])
    assert (other.status_code, other.json["errors"][0]["field"]) == (422, "cursor")
    pair = get(metadata_key="cart", metadata_value="")
    assert (pair.status_code, pair.json["data"]) == (200, [])


def test_a_unique_reference_is_found_like_any_other(
    connection: Connection, engine: Engine, merchant: TestUser
) -> None:
    want_unique_references(engine, merchant)
    make_transaction(engine, merchant, reference="r-1")

    assert len(listed(connection, merchant, reference_prefix="r")) == 1


MANY = 30_000

FILL = text(
    """
    INSERT INTO transactions (user_id, id, amount, commission, commission_rate, currency,
        reference, metadata, created_at, expires_at, status, finished_at)
    SELECT CAST(:user_id AS uuid), gen_random_uuid(), 100, 0, 0, 'RUB', 'order-' || n,
        CASE WHEN n % 3 = 0 THEN '{}' ELSE jsonb_build_object('cart', n::text) END,
        clock_timestamp() - make_interval(secs => n), clock_timestamp() + interval '1 hour',
        CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'confirmed' END,
        CASE WHEN n % 100 <> 0 THEN clock_timestamp() END
    FROM generate_series(1, :rows) AS n
    """
)


def filled(superuser: Engine, owner: TestUser) -> None:
    """Give ``owner`` a history that the planner knows about."""
    with superuser.begin() as other:
        other.execute(text("SET LOCAL session_replication_role = replica"))
        other.execute(FILL, {"user_id": owner.id, "rows": MANY})
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("VACUUM ANALYZE transactions"))


def indexes(plan: Any) -> set[str]:
    found = {plan["Index Name"]} if "Index Name" in plan else set()
    return found.union(*(indexes(part) for part in plan.get("Plans", [])))


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"reference_prefix": "order-2999"}, "ix_transactions_reference"),
        ({"reference": "order-29999"}, "ix_transactions_reference"),
        ({"metadata_key": "cart", "metadata_value": "29999"}, "ix_transactions_metadata"),
    ],
)
def test_rare_ones_are_found_by_their_index(
    connection: Connection,
    superuser: Engine,
    merchant: TestUser,
    filters: dict[str, str],
    index: str,
) -> None:
    filled(superuser, merchant)
    seen: list[Any] = []

    class Explained:
        """Asks for the plan of what it is told to execute."""

        def execute(self, statement: Any, parameters: dict[str, Any]) -> Any:
            asked = text(f"EXPLAIN (FORMAT JSON) {statement}")
            seen.append(connection.execute(asked, parameters).scalar_one()[0]["Plan"])
            return connection.execute(statement, parameters)

        def scalars(self, statement: Any, parameters: dict[str, Any]) -> Any:
            return self.execute(statement, parameters).scalars()

    found = transaction_list.list_transactions(
        cast("Connection", Explained()),
        merchant.actor,
        **filters,  # type: ignore[arg-type]  # texts all of them
    )
    assert 1 <= len(found) <= 20
    assert index in indexes(seen[0]), seen[0]
    for plan in seen:
        assert "ix_transactions_user_newest" not in indexes(plan), plan


def test_a_frequent_prefix_is_read_newest_first_until_the_page_is_full(
    connection: Connection, superuser: Engine, merchant: TestUser
) -> None:
    filled(superuser, merchant)

    found = listed(connection, merchant, reference_prefix="order-")

    assert [each["reference"] for each in found[:3]] == ["order-1", "order-2", "order-3"]
    assert len(found) == 100
