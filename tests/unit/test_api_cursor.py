from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standart.api.cursor import Sealer
from standart.api.schemas import ListTransactions
from standart.errors import InvalidInput
from standart.models import Role
from standart.services.access import Actor

SECRET = "a secret of the tests, never of a server"
SHOP = Actor(UUID(int=1), "shop", Role.REGULAR, frozenset())
OTHER = Actor(UUID(int=2), "other", Role.REGULAR, frozenset())
PLACE = (datetime(2026, 11, 23, 9, 0, 0, 123456, UTC), UUID(int=7))


def sealer(
    secret: str = SECRET, name: str = "list", actor: Actor = SHOP, **filters: object
) -> Sealer:
    return Sealer(secret, name, actor, ListTransactions(**filters))  # type: ignore[arg-type]


@given(
    st.datetimes(
        datetime(1900, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
        datetime(9999, 12, 31),  # noqa: DTZ001 - Hypothesis adds the zone
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=3))]),
    ),
    st.uuids(),
)
def test_a_cursor_opens_to_the_very_row(moment: datetime, row_id: UUID) -> None:
    assert sealer().open(sealer().seal((moment, row_id))) == (moment, row_id)


def test_page_size_may_change_between_pages() -> None:
    cursor = sealer(limit="5").seal(PLACE)
    assert sealer(limit="50", cursor=cursor).open(cursor) == PLACE


@pytest.mark.parametrize(
    "reader",
    [
        sealer(secret=SECRET + "!", currency="RUB"),
        sealer(name="events", currency="RUB"),
        sealer(actor=OTHER, currency="RUB"),
        sealer(currency="USD"),
        sealer(currency="RUB", created_from=datetime(2026, 11, 23, tzinfo=UTC)),
        sealer(reference="RUB"),
    ],
    ids=["secret", "list", "caller", "currency", "time", "same value in another filter"],
)
def test_a_cursor_opens_only_where_it_was_made(reader: Sealer) -> None:
    cursor = sealer(currency="RUB").seal(PLACE)
    assert sealer(currency="RUB").open(cursor) == PLACE
    with pytest.raises(InvalidInput):
        reader.open(cursor)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{54}", fullmatch=True))
def test_nobody_makes_a_cursor(text: str) -> None:
    with pytest.raises(InvalidInput):
        sealer().open(text)


def test_no_character_of_a_cursor_can_change() -> None:
    cursor = sealer().seal(PLACE)
    for position, old in enumerate(cursor):
        # The last character carries padding bits, so the neighbours of the alphabet differ
        # from it in these alone.
        for new in "AQgw" if position == len(cursor) - 1 else "AZaz":
            if new != old:
                with pytest.raises(InvalidInput):
                    sealer().open(cursor[:position] + new + cursor[position + 1 :])
