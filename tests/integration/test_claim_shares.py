"""Claims: whose deliveries are next, when some have long piles and there are many endpoints."""

from __future__ import annotations

from uuid import UUID

import pytest

from standart.services import webhook_service
from standart.services.webhook_service import BEGINNING
from standart.services.webhook_work import Claim
from tests.integration.mail import GOOD, Mail, by_endpoint


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> int:
    """A claim looks at that few endpoints."""
    monkeypatch.setattr(webhook_service, "WALK", 3)
    return 3


def a_round(mail: Mail, batch: int) -> list[Claim]:
    """Claim until all endpoints have been looked at."""
    claims = [mail.claim(batch)]
    while claims[-1].cursor != BEGINNING:
        claims.append(mail.claim(batch, claims[-1].cursor))
    return claims


def test_one_long_pile_takes_nothing_from_thirty_others(mail: Mail) -> None:
    shop, piled = mail.shop(), mail.shop()
    others = mail.endpoints(shop, 30)
    mail.pile(piled, count=20_000)
    for each in others:
        mail.pile(shop, each)

    claim = mail.claim(200)

    assert by_endpoint(claim.deliveries) == {piled.id: 200 // 31} | dict.fromkeys(others, 1)
    assert claim.full, "the pile got its share, so there may be more of it"
    assert claim.cursor == BEGINNING
    # Nobody else waits now, so all the room is for the pile.
    room = mail.lane(piled.id).room
    assert by_endpoint(mail.claimed(200)) == {piled.id: room - 200 // 31}
    assert mail.claimed(200) == []


def test_piles_share_a_claim_and_never_make_it_larger(mail: Mail) -> None:
    shop = mail.shop()
    piled = mail.endpoints(shop, 7)
    for each in piled:
        mail.lane(each, room=100)
        mail.pile(shop, each, 20)

    assert by_endpoint(mail.claimed(10)) == dict.fromkeys(piled, 1)
    assert by_endpoint(mail.claimed(70)) == dict.fromkeys(piled, 10)
    assert by_endpoint(mail.claimed(3)) == dict.fromkeys(piled[:3], 1)


def test_the_oldest_of_an_endpoint_is_sent_first(mail: Mail) -> None:
    shop = mail.shop()
    waiting = {}
    for age in (10, 30, 20):
        mail.pile(shop)
        [waiting[age]] = mail.one(
            "UPDATE deliveries SET next_attempt_at = now() - make_interval(secs => :age),"
            " created_at = now() - make_interval(secs => :age)"
            " WHERE created_at = (SELECT max(created_at) FROM deliveries) RETURNING id",
            age=age,
        )
    sent = [delivery.id for _ in range(3) for delivery in mail.claimed(1)]
    assert sent == [waiting[age] for age in (30, 20, 10)]


def test_with_more_endpoints_than_fit_into_a_claim_nobody_starves(mail: Mail) -> None:
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 12)
    for each in endpoints:
        mail.lane(each, room=100)
        mail.pile(shop, each, 2)

    first = a_round(mail, 5)

    assert [len(each.deliveries) for each in first] == [5, 5, 4]
    assert [each.full for each in first] == [True, True, True]
    assert [each.cursor for each in first] == [
        (shop.id, endpoints[4]),
        (shop.id, endpoints[9]),
        BEGINNING,
    ]
    got = by_endpoint(each for claim in first for each in claim.deliveries)
    assert got == dict.fromkeys(endpoints[:10], 1) | dict.fromkeys(endpoints[10:], 2)
    # It begins anew, with those that have more.
    second = a_round(mail, 5)
    again = by_endpoint(each for claim in second for each in claim.deliveries)
    assert again == dict.fromkeys(endpoints[:10], 1)
    assert all(each.deliveries == [] for each in a_round(mail, 5))


def test_the_last_claim_of_a_round_may_find_nothing_behind_the_cursor(mail: Mail) -> None:
    shop = mail.shop()
    [last] = mail.endpoints(shop, 1)
    mail.pile(shop, last, 3)

    claim = mail.claim(1)
    assert claim.cursor == (shop.id, last)
    assert claim.full

    behind = mail.claim(1, claim.cursor)
    assert (behind.deliveries, behind.cursor, behind.full) == ([], BEGINNING, False)
    assert len(mail.claimed(1)) == 1


def test_a_claim_looks_at_a_bounded_number_of_endpoints(mail: Mail, walked: int) -> None:
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 7)
    for each in endpoints:
        mail.pile(shop, each)
    mail.do("UPDATE deliveries SET next_attempt_at = next_attempt_at + interval '1 hour'")
    mail.do(
        "UPDATE deliveries SET next_attempt_at = now() WHERE endpoint_id = :id", id=endpoints[-1]
    )

    claims = a_round(mail, 50)

    assert [each.cursor[1] for each in claims] == [endpoints[2], endpoints[5], BEGINNING[1]]
    assert [len(each.deliveries) for each in claims] == [0, 0, 1]
    assert [each.full for each in claims] == [True, True, False]
    for each in claims[:-1]:
        assert each.soonest is not None
        assert 3500 < each.soonest <= 3600
    assert claims[-1].soonest is None


def test_nothing_waits_and_nothing_is_asked_again(mail: Mail) -> None:
    assert mail.claim() == Claim([], BEGINNING, None, full=False)
    shop = mail.shop()
    mail.pile(shop)
    mail.answer(mail.claimed(), GOOD)
    assert mail.claim() == Claim([], BEGINNING, None, full=False)


def test_soonest_is_when_the_next_one_may_be_claimed(mail: Mail) -> None:
    shop = mail.shop()
    first, second = mail.endpoints(shop, 2)
    mail.pile(shop, first)
    mail.pile(shop, second)
    mail.do(
        "UPDATE deliveries SET next_attempt_at = now() + interval '60 s' WHERE endpoint_id = :id",
        id=first,
    )
    assert len(mail.claimed()) == 1

    def soonest() -> float:
        claim = mail.claim()
        assert (claim.deliveries, claim.full) == ([], False)
        assert claim.soonest is not None
        return claim.soonest

    # The lease is the due time: if its holder dies, it may be claimed again.
    assert 29 < soonest() <= 30
    mail.do("UPDATE webhook_lanes SET open_until = now() + interval '40 s'")
    assert 39 < soonest() <= 40
    mail.do("UPDATE webhook_lanes SET open_until = NULL, free_at = now() + interval '50 s'")
    assert 49 < soonest() <= 50


def test_a_secret_that_does_not_open_holds_up_nobody_else(mail: Mail) -> None:
    shop = mail.shop()
    endpoints = mail.endpoints(shop, 5)
    for each in endpoints:
        mail.pile(shop, each)
    damage(mail, endpoints[0], secret=b"damaged")
    damage(mail, endpoints[1], headers=b"damaged")
    # Boxes that open, with something else in them.
    context = b"webhook_headers:" + endpoints[2].bytes
    damage(mail, endpoints[2], headers=mail.keyring.encrypt(b"[1]", context))
    context = b"webhook_secret:" + endpoints[3].bytes
    damage(mail, endpoints[3], secret=mail.keyring.encrypt(b"\xff", context))

    receivers = {each.endpoint_id: each.receiver for each in mail.claimed()}

    assert [bool(receivers[each].problem) for each in endpoints] == [True] * 4 + [False]
    assert [bool(receivers[each].secrets) for each in endpoints] == [False] * 4 + [True]


def damage(mail: Mail, endpoint_id: UUID, **boxes: bytes) -> None:
    for name, box in boxes.items():
        mail.do(
            f"UPDATE webhook_endpoints SET {name} = :box WHERE id = :id", box=box, id=endpoint_id
        )
