from __future__ import annotations

import itertools

import pytest

from standart.errors import NotPending
from standart.states import OUTCOMES, TERMINAL, TRANSITIONS, Action, TransactionStatus, target_of

PAIRS = list(itertools.product(TransactionStatus, Action))


def test_the_words_are_those_of_the_contract() -> None:
    assert [status.value for status in TransactionStatus] == [
        *("pending", "confirmed", "canceled", "expired"),
    ]
    assert [action.value for action in Action] == ["confirm", "cancel", "expire"]


def test_only_pending_leads_anywhere_and_every_action_ends_it() -> None:
    assert {source for source, _ in TRANSITIONS} == {TransactionStatus.PENDING}
    assert {action for _, action in TRANSITIONS} == set(Action)
    assert set(TRANSITIONS.values()) == TERMINAL
    assert set(TransactionStatus) - {TransactionStatus.PENDING} == TERMINAL


def test_each_action_has_an_outcome_of_its_own() -> None:
    assert OUTCOMES == {
        Action.CONFIRM: TransactionStatus.CONFIRMED,
        Action.CANCEL: TransactionStatus.CANCELED,
        Action.EXPIRE: TransactionStatus.EXPIRED,
    }


@pytest.mark.parametrize(("status", "action"), PAIRS)
def test_every_pair_moves_stays_or_is_refused(status: TransactionStatus, action: Action) -> None:
    if (status, action) in TRANSITIONS:
        assert target_of(status, action) is TRANSITIONS[status, action]
    elif status is OUTCOMES[action]:
        assert target_of(status, action) is status
    else:
        with pytest.raises(NotPending) as error:
            target_of(status, action)
        assert error.value.members == {"transaction_status": status.value}
        assert (error.value.code, error.value.status) == ("not_pending", 409)


@pytest.mark.parametrize("actions", list(itertools.permutations(Action)))
def test_the_first_action_wins_for_ever(actions: tuple[Action, ...]) -> None:
    status = target_of(TransactionStatus.PENDING, actions[0])
    for action in actions[1:]:
        with pytest.raises(NotPending):
            target_of(status, action)
    assert target_of(status, actions[0]) is status
