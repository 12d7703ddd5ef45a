"""Who may reach what in the panel: every page once, in one table.

What is not named here nobody reaches. A merchant reaches what is its own: an id of somebody
else's answers like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from standart.models import Role

ADMINS: Final = frozenset({Role.ADMIN})
SETTLERS: Final = frozenset({Role.ADMIN, Role.OPERATOR})
STAFF: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
KEEPERS: Final = frozenset({Role.ADMIN, Role.REGULAR})
SENDERS: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.REGULAR})
EVERYBODY: Final = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a page; ``proof``: only with password and code shown minutes ago."""

    roles: frozenset[Role]
    proof: bool = False


NOBODY: Final = Rule(frozenset())

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "admin.index": Rule(EVERYBODY),
        "admin.live": Rule(EVERYBODY),
        "admin.chart": Rule(EVERYBODY),
        "search.index": Rule(EVERYBODY),
        "audit.index": Rule(STAFF),
        "audit.export": Rule(STAFF),
        "settings.index": Rule(ADMINS),
        "settings.health": Rule(ADMINS),
        "profile.index": Rule(EVERYBODY),
        "profile.prove": Rule(EVERYBODY),
        "profile.save_preferences": Rule(EVERYBODY),
        "profile.change_password": Rule(EVERYBODY, proof=True),
        "profile.end_session": Rule(EVERYBODY),
        "profile.end_others": Rule(EVERYBODY),
        "profile.create_key": Rule(EVERYBODY, proof=True),
        "profile.ask_revoke": Rule(EVERYBODY),
        "profile.revoke_key": Rule(EVERYBODY),
        "profile.second_factor": Rule(EVERYBODY, proof=True),
        "profile.begin_factor": Rule(EVERYBODY, proof=True),
        "profile.confirm_factor": Rule(EVERYBODY, proof=True),
        "profile.ask_factor": Rule(EVERYBODY, proof=True),
        "profile.remove_factor": Rule(EVERYBODY, proof=True),
        "profile.renew_codes": Rule(EVERYBODY, proof=True),
        "transactions.index": Rule(EVERYBODY),
        "transactions.detail": Rule(EVERYBODY),
        "transactions.as_json": Rule(EVERYBODY),
        "transactions.export": Rule(EVERYBODY),
        "transactions.ask_export": Rule(EVERYBODY),
        "transactions.bulk_ask": Rule(SETTLERS),
        "transactions.bulk": Rule(SETTLERS),
        "transactions.ask": Rule(SETTLERS),
        "transactions.confirm": Rule(SETTLERS),
        "transactions.cancel": Rule(SETTLERS),
        "transactions.write_note": Rule(SETTLERS),
        "users.index": Rule(STAFF),
        "users.detail": Rule(EVERYBODY),
        "users.new": Rule(ADMINS, proof=True),
        "users.edit": Rule(ADMINS, proof=True),
        "users.ask": Rule(ADMINS),
        "users.delete": Rule(ADMINS),
        "users.deactivate": Rule(ADMINS),
        "users.activate": Rule(ADMINS, proof=True),
        "users.create_key": Rule(ADMINS, proof=True),
        "users.ask_revoke": Rule(ADMINS),
        "users.revoke_key": Rule(ADMINS),
        "users.show_secret": Rule(ADMINS, proof=True),
        "users.ask_rotate": Rule(ADMINS, proof=True),
        "users.rotate_secret": Rule(ADMINS, proof=True),
        "users.ask_reset": Rule(ADMINS, proof=True),
        "users.reset_factor": Rule(ADMINS, proof=True),
        "users.end_session": Rule(ADMINS),
        "users.end_sessions": Rule(ADMINS),
        "payouts.index": Rule(EVERYBODY),
        "payouts.detail": Rule(EVERYBODY),
        "payouts.destination": Rule(SETTLERS),
        "payouts.ask": Rule(SETTLERS),
        "payouts.approve": Rule(SETTLERS),
        "payouts.reject": Rule(SETTLERS),
        "payouts.paid": Rule(SETTLERS),
        "payouts.failed": Rule(SETTLERS),
        "payouts.cancel": Rule(ADMINS),
        "payouts.new": Rule(ADMINS),
        "payouts.create": Rule(ADMINS),
        "refunds.index": Rule(EVERYBODY),
        "refunds.detail": Rule(EVERYBODY),
        "refunds.new": Rule(SETTLERS),
        "refunds.create": Rule(SETTLERS),
        "refunds.ask_late": Rule(SETTLERS),
        "refunds.record_late": Rule(SETTLERS),
        "refunds.adjustments": Rule(EVERYBODY),
        "refunds.adjustment": Rule(EVERYBODY),
        "refunds.new_adjustment": Rule(ADMINS, proof=True),
        "refunds.create_adjustment": Rule(ADMINS, proof=True),
        "refunds.ask_adjustment": Rule(ADMINS),
        "refunds.approve_adjustment": Rule(ADMINS, proof=True),
        "refunds.cancel_adjustment": Rule(ADMINS),
        "reconciliation.index": Rule(EVERYBODY),
        "reconciliation.close": Rule(ADMINS),
        "reconciliation.statement": Rule(EVERYBODY),
        "reconciliation.download": Rule(EVERYBODY),
        "reconciliation.receipt": Rule(EVERYBODY),
        "reconciliation.runs": Rule(ADMINS),
        "reconciliation.new_run": Rule(ADMINS),
        "reconciliation.run": Rule(ADMINS),
        "reconciliation.report": Rule(ADMINS),
        "webhooks.index": Rule(EVERYBODY),
        "webhooks.detail": Rule(EVERYBODY),
        "webhooks.ask_replay": Rule(SENDERS),
        "webhooks.replay": Rule(SENDERS),
        "webhooks.ask_replay_set": Rule(SENDERS),
        "webhooks.replay_set": Rule(SENDERS),
        "webhooks.one_endpoint": Rule(EVERYBODY),
        "webhooks.ping": Rule(SENDERS),
        "webhooks.check": Rule(SENDERS),
        "webhooks.replay_span": Rule(SENDERS),
        "webhooks.new_endpoint": Rule(KEEPERS),
        "webhooks.edit_endpoint": Rule(KEEPERS),
        "webhooks.ask_endpoint": Rule(KEEPERS),
        "webhooks.delete_endpoint": Rule(KEEPERS),
        "webhooks.disable_endpoint": Rule(KEEPERS),
        "webhooks.enable_endpoint": Rule(KEEPERS),
        "webhooks.endpoint_secret": Rule(KEEPERS, proof=True),
        "webhooks.ask_rotate_endpoint": Rule(KEEPERS, proof=True),
        "webhooks.rotate_endpoint": Rule(KEEPERS, proof=True),
    }
)
"""Flask's name of a page → its rule."""

ENROLMENT: Final = frozenset(
    {
        "profile.prove",
        "profile.second_factor",
        "profile.begin_factor",
        "profile.confirm_factor",
    }
)
"""What somebody reaches who must set up a second factor before anything else."""


def rule_of(endpoint: str | None) -> Rule:
    """Return the rule of a page, which for an unknown one lets nobody in."""
    return RULES.get(endpoint or "", NOBODY)


def may(role: Role, endpoint: str) -> bool:
    """Whether users of ``role`` reach a page: what leads to it is shown to them only."""
    return role in rule_of(endpoint).roles
