"""What is done to endpoints by their owners: made, changed, deleted, given a new secret.

All functions expect an autocommit connection and open a transaction of their own on it. An
endpoint's lane is locked before the endpoint itself, as by whoever records attempts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Row, text

from standart.clock import new_id, now
from standart.encryption import Keyring
from standart.errors import Conflict, EndpointLimit, InvalidInput, NotFound
from standart.models import DisabledReason, Scope
from standart.models.webhooks import ENDINGS
from standart.services import acts, audit_service, endpoint_rules, endpoint_service, merchants
from standart.services import endpoint_sql as sql
from standart.services.access import Actor, Origin
from standart.services.endpoint_rules import MASK
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.webhooks import signing

MOST_ENDPOINTS: Final = 20
"""How many a user may have, the default one among them."""

MOST_LET_GO: Final = 5_000
"""How much that waits for its turn is due at once when its endpoint wants order no more."""

_CHECKED: Final = ("event_types", "description", "headers", "rate_limit")

_STOPPED_BY_US: Final = (DisabledReason.GONE.value, DisabledReason.FAILING.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """What a client asks for; ``url`` must have passed ``webhooks.addresses.parse_url``.

    ``user_id`` names the owner when an admin asks. Id and secret are drawn here, so that
    running the same request twice (the connection died after the commit) makes one endpoint.
    """

    url: str
    event_types: Sequence[str] = ENDINGS
    description: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate_limit: int | None = None
    ordered: bool = False
    enabled: bool = True
    user_id: UUID | None = None
    fresh_id: UUID = field(default_factory=new_id)
    fresh_secret: str = field(default_factory=signing.new_secret, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What shall be otherwise; what is not set stays. ``url`` as in ``NewEndpoint``."""

    url: str | UnsetType | None = UNSET
    event_types: Sequence[str] | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    headers: Mapping[str, str] | UnsetType = field(default=UNSET, repr=False)
    rate_limit: int | UnsetType | None = UNSET
    ordered: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


def create(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    keyring: Keyring,
    new: NewEndpoint,
    *,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Add an endpoint; answers 201 with its secret, this once.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        InvalidInput: a setting breaks its rule, or ``user_id`` does not fit.
        EndpointLimit: the owner has ``MOST_ENDPOINTS`` already.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        endpoint_rules.require({name: getattr(new, name) for name in _CHECKED})
        owner_id = merchants.meant_by(connection, actor, new.user_id).id
        actor.require_keeper(owner_id)
        # Held until the commit, so that two requests cannot both be the twentieth.
        if connection.execute(sql.HOLD_OWNER, {"user_id": owner_id}).one_or_none() is None:
            raise InvalidInput.of("user_id", "This user was deleted meanwhile.")
        made = {"user_id": owner_id, "id": new.fresh_id}
        if connection.execute(sql.HOLD, {"id": new.fresh_id}).one_or_none() is None:
            if connection.scalar(sql.COUNT, {"user_id": owner_id}) >= MOST_ENDPOINTS:
                raise EndpointLimit
            _insert(connection, keyring, owner_id, new)
            row = connection.execute(sql.HOLD, {"id": new.fresh_id}).one()
            audit_service.record(
                connection,
                actor,
                "endpoint.created",
                "webhook_endpoint",
                new.fresh_id,
                after={"user_id": str(owner_id), **_described(row)},
            )
        shown = connection.execute(endpoint_service.READ, made).scalar_one()
        return Answer(201, _with_secret(shown, new.fresh_secret))

    return acts.perform(
        connection, caller, origin, Scope.WRITE, work, claim=claim, sealed_by=keyring
    )


def update(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    keyring: Keyring,
    endpoint_id: UUID,
    changes: Changes,
) -> Answer:
    """Change what is set; answers 200 with the endpoint.

    ``enabled`` lets it be called again, whyever it was not, and forgets its failures; so does
    another URL, unless the owner had disabled it. A header that is sent as it is shown keeps
    its value.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        NotFound: unknown, deleted, or somebody else's.
        InvalidInput: a setting breaks its rule, another than the default one would lose its
            URL, or a header that has no value yet is given as it would be shown.
    """

    def work(actor: Actor) -> Answer:
        given = {name: getattr(changes, name) for name in _CHECKED}
        endpoint_rules.require({name: each for name, each in given.items() if each is not UNSET})
        row = _held(connection, actor, endpoint_id)
        wanted = _wanted(keyring, row, changes)
        if wanted:
            _apply(connection, actor, row, wanted)
        return Answer(200, _read(connection, row))

    return acts.perform(connection, caller, origin, Scope.WRITE, work)


def delete(
    connection: Connection, caller: KeyDigest | Actor, origin: Origin, endpoint_id: UUID
) -> Answer:
    """Delete an endpoint; answers 200. Its attempts stay, what waits for it is not sent.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        NotFound: unknown, deleted before, or somebody else's.
        Conflict: it is the default one.
    """

    def work(actor: Actor) -> Answer:
        row = _held(connection, actor, endpoint_id)
        if row.id == row.user_id:
            raise Conflict(
                "The default endpoint stays; set its url to null or enabled to false instead."
            )
        connection.execute(sql.DELETE, {"user_id": row.user_id, "id": row.id})
        audit_service.record(
            connection,
            actor,
            "endpoint.deleted",
            "webhook_endpoint",
            row.id,
            before=_described(row),
        )
        return Answer(200, json.dumps({"id": str(row.id), "deleted": True}))

    return acts.perform(connection, caller, origin, Scope.WRITE, work)


def rotate_secret(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    keyring: Keyring,
    endpoint_id: UUID,
    *,
    fresh_secret: str,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Give an endpoint another secret; the former one signs as well for 24 h more.

    ``fresh_secret`` is drawn before: a second run finds it in force, and rotates nothing.
    Answers 200 with the endpoint and the secret, this once.

    Raises:
        Unauthenticated, InsufficientScope: the caller may not write.
        NotFound: unknown, deleted, or somebody else's.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """

    def work(actor: Actor) -> Answer:
        row = _held(connection, actor, endpoint_id)
        present = endpoint_service.open_secrets(keyring, row.id, row.secret)[0]
        if present != fresh_secret:
            sealed = endpoint_service.seal_secret(keyring, row.id, fresh_secret)
            until = now() + endpoint_service.SECRET_OVERLAP
            connection.execute(
                sql.ROTATE,
                {"user_id": row.user_id, "id": row.id, "secret": sealed, "until": until},
            )
            endpoint_service.record_rotation(connection, actor, row.user_id, row.id)
        return Answer(200, _with_secret(_read(connection, row), fresh_secret))

    return acts.perform(
        connection, caller, origin, Scope.WRITE, work, claim=claim, sealed_by=keyring
    )


def _insert(connection: Connection, keyring: Keyring, owner_id: UUID, new: NewEndpoint) -> None:
    if MASK in new.headers.values():
        raise InvalidInput.of("headers", _NO_VALUE)
    connection.execute(
        sql.INSERT,
        {
            "user_id": owner_id,
            "id": new.fresh_id,
            "url": new.url,
            "event_types": list(new.event_types),
            "description": new.description,
            "ordered": new.ordered,
            "rate_limit": new.rate_limit,
            "headers": endpoint_service.seal_headers(keyring, new.fresh_id, new.headers),
            "header_names": sorted(new.headers),
            "secret": endpoint_service.seal_secret(keyring, new.fresh_id, new.fresh_secret),
            "reason": None if new.enabled else DisabledReason.OWNER.value,
        },
    )


def _held(connection: Connection, actor: Actor, endpoint_id: UUID) -> Row[Any]:
    """Return the endpoint's row, locked until the commit, its lane first.

    Raises:
        NotFound: unknown, deleted, or not the actor's, in the same words.
        Forbidden: see ``Actor.require_keeper``.
    """
    owner_id = owner_of(connection, actor, endpoint_id)
    actor.require_keeper(owner_id)
    connection.execute(sql.HOLD_LANE, {"user_id": owner_id, "id": endpoint_id})
    row = connection.execute(sql.HOLD, {"id": endpoint_id}).one_or_none()
    if row is None:
        raise NotFound
    return row


def owner_of(connection: Connection, actor: Actor, endpoint_id: UUID) -> UUID:
    """Return whose endpoint it is.

    Raises:
        NotFound: unknown, deleted, or not the actor's, in the same words.
    """
    owner_id: UUID | None = connection.scalar(sql.OWNER, {"id": endpoint_id})
    if owner_id is None:
        raise NotFound
    actor.require_owner(owner_id)
    return owner_id


_NO_VALUE: Final = f"must have other values than {MASK}, which stands for one that is set already"


def _wanted(keyring: Keyring, row: Row[Any], changes: Changes) -> dict[str, Any]:
    """Return the columns that change, with their new values."""
    plain = {
        name: value
        for name in ("url", "event_types", "description", "rate_limit", "ordered")
        if (value := getattr(changes, name)) is not UNSET
    }
    if "event_types" in plain:
        plain["event_types"] = list(plain["event_types"])
    wanted = {name: value for name, value in plain.items() if value != getattr(row, name)}
    if wanted.get("url", row.url) is None and row.id != row.user_id:
        raise InvalidInput.of("url", "Only the default endpoint may be without a URL.")
    if not isinstance(changes.headers, UnsetType):
        wanted |= _wanted_headers(keyring, row, changes.headers)
    return wanted | _wanted_state(row, changes, moved="url" in wanted)


def _wanted_headers(keyring: Keyring, row: Row[Any], headers: Mapping[str, str]) -> dict[str, Any]:
    known = endpoint_service.open_headers(keyring, row.id, row.headers)
    values = {name.lower(): value for name, value in known.items()}
    merged = {
        name: values.get(name.lower(), MASK) if value == MASK else value
        for name, value in headers.items()
    }
    if MASK in merged.values():
        raise InvalidInput.of("headers", _NO_VALUE)
    if merged == known:
        return {}
    return {
        "headers": endpoint_service.seal_headers(keyring, row.id, merged),
        "header_names": sorted(merged),
    }


def _wanted_state(row: Row[Any], changes: Changes, *, moved: bool) -> dict[str, Any]:
    """Return whether it shall be called; another URL is given a chance after a stop of ours."""
    if changes.enabled is False:
        return {} if row.disabled_at else _state(now(), DisabledReason.OWNER.value)
    if row.disabled_at and (
        changes.enabled is True or (moved and row.disabled_reason in _STOPPED_BY_US)
    ):
        return _state(None, None)
    return {}


def _state(moment: datetime | None, reason: str | None) -> dict[str, Any]:
    return {"disabled_at": moment, "disabled_reason": reason}


def _apply(connection: Connection, actor: Actor, row: Row[Any], wanted: dict[str, Any]) -> None:
    key = {"user_id": row.user_id, "id": row.id}
    if wanted.keys() & {"url", "disabled_at"}:
        endpoint_service.forgive(connection, row.user_id, row.id)
    if "rate_limit" in wanted:
        connection.execute(sql.FORGET_PACE, key)
    if wanted.get("ordered") is False:
        connection.execute(sql.LET_GO, {**key, "most": MOST_LET_GO})
    assignments = ", ".join(f"{name} = :{name}" for name in wanted)
    connection.execute(
        text(f"UPDATE webhook_endpoints SET {assignments} WHERE user_id = :user_id AND id = :id"),
        {**wanted, **key},
    )
    after = _described(connection.execute(sql.HOLD, {"id": row.id}).one())
    if "headers" in wanted:
        after["headers_changed"] = True
    audit_service.record(
        connection,
        actor,
        "endpoint.updated",
        "webhook_endpoint",
        row.id,
        before=_described(row),
        after=after,
    )


def _described(row: Row[Any]) -> dict[str, Any]:
    """What the audit log keeps of an endpoint: no secret, of headers their names."""
    return {
        "url": row.url,
        "event_types": row.event_types,
        "description": row.description,
        "headers": row.header_names,
        "rate_limit": row.rate_limit,
        "ordered": row.ordered,
        "enabled": row.disabled_at is None,
    }


def _read(connection: Connection, row: Row[Any]) -> str:
    key = {"user_id": row.user_id, "id": row.id}
    return str(connection.execute(endpoint_service.READ, key).scalar_one())


def _with_secret(shown: str, secret: str) -> str:
    """Return the wire form of an endpoint with its secret at the end."""
    return f'{shown[:-1]},"secret":{json.dumps(secret)}}}'
