"""Endpoints that are not called: what waits for them is dead, and nothing is sent."""

from __future__ import annotations

import pytest

from standart.services import webhook_service
from tests.integration.mail import GOOD, Mail, by_endpoint

DISABLED = "UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'owner'"
DELETED = f"{DISABLED}, deleted_at = now()"
WITHOUT_URL = "UPDATE webhook_endpoints SET url = NULL"


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_service, "ORPHANS", 4)


@pytest.mark.parametrize("change", [DISABLED, DELETED, WITHOUT_URL])
def test_what_waits_becomes_dead_in_batches_and_nothing_is_sent(
    mail: Mail, few_at_once: None, change: str
) -> None:
    shop, sound = mail.shop(), mail.shop()
    stopped = shop.id if change is WITHOUT_URL else mail.endpoint(shop)
    mail.pile(shop, stopped, 10)
    mail.pile(sound)
    mail.do(f"{change} WHERE id = :id", id=stopped)

    claims = [mail.claim() for _ in range(4)]

    assert by_endpoint(each for claim in claims for each in claim.deliveries) == {sound.id: 1}
    assert [claim.full for claim in claims] == [True, True, True, False]
    assert mail.states(stopped) == {"dead": 10}
    left = mail.one(
        "SELECT count(*) FROM deliveries WHERE endpoint_id = :id"
        " AND (lease IS NOT NULL OR next_attempt_at IS NOT NULL OR attempt_count > 0)",
        id=stopped,
    )
    assert left[0] == 0


def test_one_claim_ends_a_bounded_number_for_many_endpoints(mail: Mail, few_at_once: None) -> None:
    shop = mail.shop()
    stopped = mail.endpoints(shop, 3)
    for each in stopped:
        mail.pile(shop, each, 3)
    mail.do(f"{DISABLED} WHERE id <> user_id")

    mail.claim()

    assert [mail.states(each) for each in stopped] == [{"waiting": 2, "dead": 1}] * 3


def test_an_attempt_that_is_under_way_ends_as_it_ends(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=2)
    finished, lost = mail.claimed()
    mail.do(f"{DISABLED} WHERE id = :id", id=shop.id)
    mail.claim()
    mail.answer([finished], GOOD)
    assert mail.states(shop.id) == {"waiting": 1, "delivered": 1}

    # The other's worker died: nobody takes over from it.
    mail.pass_time(webhook_service.LEASE_SECONDS)
    mail.claim()
    assert mail.states(shop.id) == {"dead": 1, "delivered": 1}
    mail.answer([lost], GOOD)
    assert mail.states(shop.id) == {"dead": 1, "delivered": 1}


def test_a_retry_that_comes_later_is_dead_when_it_is_due(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=2)
    mail.do(
        "UPDATE deliveries SET next_attempt_at = now() + interval '1 hour' WHERE id ="
        " (SELECT id FROM deliveries LIMIT 1)"
    )
    mail.do(f"{DISABLED} WHERE id = :id", id=shop.id)
    mail.claim()
    assert mail.states(shop.id) == {"waiting": 1, "dead": 1}
    mail.pass_time(3600)
    mail.claim()
    assert mail.states(shop.id) == {"dead": 2}


def test_an_endpoint_that_is_enabled_again_gets_what_comes_then(mail: Mail) -> None:
    shop = mail.shop()
    mail.pile(shop, count=2)
    mail.do(f"{DISABLED} WHERE id = :id", id=shop.id)
    mail.claim()
    mail.do("UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = NULL")
    mail.pile(shop)
    assert len(mail.claimed()) == 1
    assert mail.states(shop.id) == {"dead": 2, "waiting": 1}
