"""The table of a payout's life, apart from any database."""

from __future__ import annotations

import itertools

import pytest

from standart.errors import PayoutState
from standart.states import PAYOUT_TRANSITIONS, PayoutAction, PayoutStatus, payout_target

PAIRS = list(itertools.product(PayoutStatus, PayoutAction))
OUTCOMES = {action: target for (_, action), target in PAYOUT_TRANSITIONS.items()}


def test_the_table_is_the_one_that_was_promised() -> None:
    steps = {
        (source.value, action.value, target.value)
        for (source, action), target in PAYOUT_TRANSITIONS.items()
    }
    assert steps == {
        ("pending", "approve", "approved"),
        ("pending", "reject", "rejected"),
        ("pending", "cancel", "canceled"),
        ("approved", "pay", "paid"),
        ("approved", "fail", "failed"),
    }


def test_each_action_has_an_outcome_of_its_own_and_each_status_is_reached() -> None:
    assert set(OUTCOMES) == set(PayoutAction)
    assert len(set(OUTCOMES.values())) == len(OUTCOMES)
    assert set(OUTCOMES.values()) == set(PayoutStatus) - {PayoutStatus.PENDING}


@pytest.mark.parametrize(("status", "action"), PAIRS)
def test_every_pair_moves_stays_or_is_refused(status: PayoutStatus, action: PayoutAction) -> None:
    if (status, action) in PAYOUT_TRANSITIONS:
        assert payout_target(status, action) is PAYOUT_TRANSITIONS[status, action]
    elif status is OUTCOMES[action]:
        assert payout_target(status, action) is status
    else:
        with pytest.raises(PayoutState) as refused:
            payout_target(status, action)
        assert refused.value.members == {"payout_status": status.value}
        assert (refused.value.code, refused.value.status) == ("payout_state", 409)


@pytest.mark.parametrize("actions", list(itertools.permutations(PayoutAction)))
def test_money_leaves_once_or_comes_back_once(actions: tuple[PayoutAction, ...]) -> None:
    status, ends = PayoutStatus.PENDING, []
    for action in actions:
        try:
            reached = payout_target(status, action)
        except PayoutState:
            continue
        if reached is not PayoutStatus.APPROVED:
            ends.append(reached)
        status = reached
    assert len(ends) <= 1
