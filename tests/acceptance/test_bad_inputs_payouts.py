"""Bad requests about payouts: the exact answer, and nothing changed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from sqlalchemy import Engine

from standart.db import autocommit
from standart.encryption import Keyring
from standart.models import Scope
from standart.services.key_service import digest_of
from standart.states import PAYOUT_TRANSITIONS, PayoutAction, PayoutStatus
from tests.acceptance.http import Http, refused
from tests.acceptance.test_bad_inputs_create import WRONG_AMOUNTS
from tests.acceptance.test_bad_inputs_settle import LIMITS, MALFORMED_IDS, UNKNOWN
from tests.integration.payouts import WAYS, act, created
from tests.world import World

pytestmark = pytest.mark.usefixtures("nothing_changes")

ACTS: dict[PayoutAction, tuple[str, dict[str, str]]] = {
    PayoutAction.APPROVE: ("/approve_payout", {}),
    PayoutAction.REJECT: ("/reject_payout", {"reason": "No."}),
    PayoutAction.CANCEL: ("/cancel_payout", {}),
    PayoutAction.PAY: ("/complete_payout", {"result": "paid"}),
    PayoutAction.FAIL: ("/complete_payout", {"result": "failed"}),
}
READS = ("/check_payout", "/payout_destination")
PATHS = ("/create_payout", *dict.fromkeys(path for path, _ in ACTS.values()))


@pytest.fixture(scope="module")
def payouts(world: World, _app_engine: Engine, keyring: Keyring) -> Mapping[PayoutStatus, str]:
    """The id of one of the shop's payouts in each status."""
    made = {}
    with autocommit(_app_engine) as connection:
        for status, way in WAYS.items():
            payer = digest_of(world.keys["trusted shop"])
            payout_id = created(connection, keyring, payer, amount="1.00")
            for action in way:
                act(connection, world.admin.digest, payout_id, action)
            made[status] = str(payout_id)
    return made


def create(server: Http, world: World, body: bytes | dict[str, Any]) -> Any:
    return server.post("/create_payout", body, key=world.keys["trusted shop"])


def wrong(reply: Any) -> list[str]:
    return [error["field"] for error in refused(reply, 422, "invalid_input")["errors"]]


@pytest.mark.parametrize("value", WRONG_AMOUNTS, ids=lambda value: repr(value)[:40])
def test_a_wrong_amount_is_422(server: Http, world: World, value: str) -> None:
    assert wrong(create(server, world, b'{"amount":%s}' % value.encode())) == ["amount"]


@pytest.mark.parametrize(
    ("amount", "currency"), [("1.5", "JPY"), ("0.001", "USD"), ("0.0001", "KWD")]
)
def test_more_digits_than_the_currency_has_are_422(
    server: Http, world: World, amount: str, currency: str
) -> None:
    assert wrong(create(server, world, {"amount": amount, "currency": currency})) == ["amount"]


CARD = "4111 1111 1111 1111"
MANY = {f"k{number}": "v" for number in range(21)}
WRONG_FIELDS: dict[str, tuple[str, object]] = {
    "currency in lower case": ("currency", "usd"),
    "currency of nobody": ("currency", "XXX"),
    "currency a number": ("currency", 643),
    "reference empty": ("reference", ""),
    "reference long": ("reference", "x" * 129),
    "reference with line break": ("reference", "a\nb"),
    "reference a number": ("reference", 5),
    "destination a text": ("destination", "DE89370400440532013000"),
    "destination an array": ("destination", ["DE89370400440532013000"]),
    "destination empty": ("destination", {}),
    "destination of 21": ("destination", MANY),
    "destination nested": ("destination", {"bank": {"bic": "1"}}),
    "destination with a number": ("destination", {"account": 40817810}),
    "destination with null": ("destination", {"account": None}),
    "destination with true": ("destination", {"account": True}),
    "destination with an empty text": ("destination", {"account": ""}),
    "destination with a long text": ("destination", {"account": "x" * 201}),
    "destination with an empty name": ("destination", {"": "x"}),
    "destination with a long name": ("destination", {"x" * 41: "x"}),
    "destination with a blank in a name": ("destination", {"a b": "x"}),
    "destination with a Cyrillic name": ("destination", {"счёт": "x"}),
    "destination with a line break in a name": ("destination", {"a\n": "x"}),
    "destination with a line break": ("destination", {"account": "4081\n7810"}),
    "destination with NUL": ("destination", {"account": "4081\0"}),
    "destination with DEL": ("destination", {"account": "4081\x7f"}),
    "destination with half a surrogate pair": ("destination", {"account": "\ud800"}),
    "destination with a card": ("destination", {"account": CARD}),
    "destination with a card behind others": ("destination", {"a": "b", "c": f"to {CARD} please"}),
    "destination with a card as a name": ("destination", {"4111111111111111": "x"}),
    "user_id malformed": ("user_id", "1"),
    "status": ("status", "paid"),
    "id": ("id", UNKNOWN),
    "approvals": ("approvals", 2),
    "reason": ("reason", "x"),
    "__proto__": ("__proto__", {}),
}


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_or_unknown_field_is_422(
    server: Http, world: World, name: str, value: object
) -> None:
    reply = create(server, world, {"amount": "1.00", name: value})
    assert wrong(reply) == [name]
    for secret in ("370400440532013000", "40817810", "4111"):
        assert secret not in reply.body.decode()


@pytest.mark.parametrize("body", [{}, {"amount": None}, {"currency": "RUB"}], ids=json.dumps)
def test_a_payout_needs_an_amount(server: Http, world: World, body: dict[str, Any]) -> None:
    assert wrong(create(server, world, body)) == ["amount"]


def test_a_destination_that_names_a_key_twice_is_400(server: Http, world: World) -> None:
    body = b'{"amount":"1","destination":{"iban":"1","iban":"2"}}'
    refused(create(server, world, body), 400, "malformed_request")


def test_an_admins_key_names_a_merchant(server: Http, world: World) -> None:
    for key, members in (
        (world.admin.key, {}),
        (world.admin.key, {"user_id": UNKNOWN}),
        (world.keys["trusted shop"], {"user_id": str(world.shop.id)}),
    ):
        assert wrong(server.post("/create_payout", {"amount": "1", **members}, key=key)) == [
            "user_id"
        ]


def test_more_than_is_available_is_409(server: Http, world: World) -> None:
    document = refused(create(server, world, {"amount": "97.01"}), 409, "insufficient_balance")
    left = server.call("GET", "/balance", key=world.shop.key).json()["balances"][0]
    assert (document["currency"], document["available"]) == ("RUB", left["balance"])
    document = refused(
        create(server, world, {"amount": "1", "currency": "JPY"}), 409, "insufficient_balance"
    )
    assert (document["currency"], document["available"]) == ("JPY", "0")


@pytest.mark.parametrize("path", PATHS)
def test_the_default_scopes_open_nothing_but_reading(
    server: Http, world: World, path: str, payouts: Mapping[PayoutStatus, str]
) -> None:
    body = {"amount": "1"} if path == "/create_payout" else {"id": payouts[PayoutStatus.PENDING]}
    if path == "/reject_payout":
        body["reason"] = "No."
    if path == "/complete_payout":
        body["result"] = "paid"
    document = refused(server.post(path, body, key=world.shop.key), 403, "insufficient_scope")
    wanted = Scope.PAYOUT if path in ("/create_payout", "/cancel_payout") else Scope.CONFIRM
    assert document["required_scope"] == wanted


def test_a_merchant_never_reads_a_destination_in_plain(
    server: Http, world: World, payouts: Mapping[PayoutStatus, str]
) -> None:
    for given in (payouts[PayoutStatus.PENDING], UNKNOWN):
        for name in ("trusted shop", "trusted stranger", "reader"):
            reply = server.call("GET", f"/payout_destination?id={given}", key=world.keys[name])
            refused(reply, 403, "insufficient_scope")


@pytest.mark.parametrize("action", ACTS)
@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_body_is_422(
    server: Http, world: World, action: PayoutAction, given: str
) -> None:
    path, members = ACTS[action]
    assert wrong(server.post(path, {"id": given, **members}, key=world.admin.key)) == ["id"]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("given", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_id_in_a_query_is_422(
    server: Http, world: World, path: str, given: str
) -> None:
    reply = server.call("GET", f"{path}?id={quote(given)}", key=world.admin.key)
    assert wrong(reply) == ["id"]


@pytest.mark.parametrize("path", READS)
def test_a_read_names_one_id_and_nothing_else(server: Http, world: World, path: str) -> None:
    queries = {"": ["id"], f"?id={UNKNOWN}&id={UNKNOWN}": ["id"], f"?id={UNKNOWN}&x=1": ["x"]}
    for query, fields in queries.items():
        assert wrong(server.call("GET", path + query, key=world.admin.key)) == fields


WRONG_BODIES: dict[str, tuple[PayoutAction, dict[str, Any], str]] = {
    "approve with a reason": (PayoutAction.APPROVE, {"reason": "x"}, "reason"),
    "approve with an amount": (PayoutAction.APPROVE, {"amount": "1"}, "amount"),
    "cancel with a reason": (PayoutAction.CANCEL, {"reason": "x"}, "reason"),
    "reject with a result": (PayoutAction.REJECT, {"result": "paid"}, "result"),
    "reject with null as reason": (PayoutAction.REJECT, {"reason": None}, "reason"),
    "reject with an empty reason": (PayoutAction.REJECT, {"reason": ""}, "reason"),
    "reject with a blank reason": (PayoutAction.REJECT, {"reason": " \u2003"}, "reason"),
    "reject with a long reason": (PayoutAction.REJECT, {"reason": "x" * 501}, "reason"),
    "reject with a line break": (PayoutAction.REJECT, {"reason": "a\nb"}, "reason"),
    "reject with a card": (PayoutAction.REJECT, {"reason": CARD}, "reason"),
    "complete with null": (PayoutAction.PAY, {"result": None}, "result"),
    "complete in upper case": (PayoutAction.PAY, {"result": "PAID"}, "result"),
    "complete with a status": (PayoutAction.PAY, {"result": "approved"}, "result"),
    "complete with true": (PayoutAction.PAY, {"result": True}, "result"),
    "complete with a long reason": (PayoutAction.FAIL, {"reason": "x" * 501}, "reason"),
    "complete with NUL": (PayoutAction.FAIL, {"reason": "a\0"}, "reason"),
    "complete with a card": (PayoutAction.FAIL, {"reason": CARD}, "reason"),
    "complete with paid": (PayoutAction.PAY, {"paid": True}, "paid"),
}


@pytest.mark.parametrize(("action", "members", "field"), WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_a_wrong_body_is_422(
    server: Http,
    world: World,
    payouts: Mapping[PayoutStatus, str],
    action: PayoutAction,
    members: dict[str, Any],
    field: str,
) -> None:
    path, needed = ACTS[action]
    body = {"id": payouts[PayoutStatus.PENDING], **needed, **members}
    assert wrong(server.post(path, body, key=world.admin.key)) == [field]


@pytest.mark.parametrize(
    ("path", "field"), [("/reject_payout", "reason"), ("/complete_payout", "result")]
)
def test_what_is_mandatory_must_be_there(
    server: Http, world: World, payouts: Mapping[PayoutStatus, str], path: str, field: str
) -> None:
    body = {"id": payouts[PayoutStatus.PENDING]}
    assert wrong(server.post(path, body, key=world.admin.key)) == [field]


@pytest.mark.parametrize(
    ("status", "action"),
    [pair for pair in itertools.product(PayoutStatus, ACTS) if pair not in PAYOUT_TRANSITIONS],
)
def test_what_stands_elsewhere_is_409(
    server: Http,
    world: World,
    payouts: Mapping[PayoutStatus, str],
    status: PayoutStatus,
    action: PayoutAction,
) -> None:
    path, members = ACTS[action]
    reply = server.post(path, {"id": payouts[status], **members}, key=world.admin.key)
    if WAYS[status][-1:] == (action,):
        assert (reply.status, reply.json()["status"]) == (200, status)
    else:
        assert refused(reply, 409, "payout_state")["payout_status"] == status


def test_unknown_and_foreign_ids_get_the_same_404(
    server: Http, world: World, payouts: Mapping[PayoutStatus, str]
) -> None:
    stranger = world.keys["trusted stranger"]
    answers = []
    for given in (UNKNOWN, *payouts.values(), world.ids["pending"]):
        assert UUID(given)
        for reply in (
            server.post("/cancel_payout", {"id": given}, key=stranger),
            server.call("GET", f"/check_payout?id={given}", key=stranger),
        ):
            document = refused(reply, 404, "not_found")
            del document["request_id"]
            answers.append(document)
    assert all(answer == answers[0] for answer in answers)


def test_an_admin_finds_no_payout_under_other_ids(server: Http, world: World) -> None:
    for given in (UNKNOWN, world.ids["confirmed"], str(world.shop.id)):
        for path, members in ACTS.values():
            reply = server.post(path, {"id": given, **members}, key=world.admin.key)
            refused(reply, 404, "not_found")
        for path in READS:
            reply = server.call("GET", f"{path}?id={given}", key=world.admin.key)
            refused(reply, 404, "not_found")


@pytest.mark.parametrize("path", PATHS)
def test_only_whole_json_without_a_query_is_taken(server: Http, world: World, path: str) -> None:
    key = world.admin.key
    body = {"id": UNKNOWN}
    refused(server.post(path, b"{", key=key), 400, "malformed_request")
    refused(server.post(path, b"[]", key=key), 422, "invalid_input")
    refused(server.post(f"{path}?id={UNKNOWN}", body, key=key), 422, "invalid_input")
    text = {"Content-Type": "text/plain"}
    refused(server.post(path, body, key=key, headers=text), 415, "unsupported_media_type")
    large = json.dumps({"id": "x" * 65_536}).encode()
    refused(server.post(path, large, key=key), 413, "payload_too_large")
    refused(server.call("GET", path, key=key), 405, "method_not_allowed")


@pytest.mark.parametrize("given", ["", "a,b", "a b", "ключ".encode().decode("latin-1"), "x" * 256])
def test_a_wrong_idempotency_key_is_400(server: Http, world: World, given: str) -> None:
    for path, members in (("/create_payout", {"amount": "1"}), ("/cancel_payout", {"id": UNKNOWN})):
        reply = server.post(
            path, members, key=world.keys["trusted shop"], headers={"Idempotency-Key": given}
        )
        refused(reply, 400, "malformed_request")


BAD_QUERIES: dict[str, dict[str, str]] = {
    **{f"limit {given[:12]!r}": {"limit": given} for given in LIMITS},
    "unknown": {"sort": "amount"},
    "reference": {"reference": "week-47"},
    "destination": {"destination": "DE89"},
    "status unknown": {"status": "done"},
    "status of a transaction": {"status": "confirmed"},
    "status in upper case": {"status": "PAID"},
    "currency": {"currency": "rub"},
    "user_id": {"user_id": "1"},
    "date": {"created_from": "2026-11-23"},
    "no zone": {"created_to": "2026-11-23T00:00:00"},
    "cursor forged": {"cursor": "A" * 54},
    "cursor word": {"cursor": "next"},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_wrong_query_of_the_list_is_422(
    server: Http, world: World, query: dict[str, str]
) -> None:
    reply = server.call("GET", f"/payouts?{urlencode(query)}", key=world.shop.key)
    assert wrong(reply) == list(query)


def test_a_cursor_serves_its_own_list_only(
    server: Http, world: World, payouts: Mapping[PayoutStatus, str]
) -> None:
    assert len(payouts) > 1
    page = server.call("GET", "/payouts?limit=1", key=world.shop.key).json()
    cursor = page["next_cursor"]
    for path, key in (
        (f"/payouts?status=pending&cursor={cursor}", world.shop.key),
        (f"/payouts?cursor={cursor}", world.admin.key),
        (f"/transactions?cursor={cursor}", world.shop.key),
    ):
        assert wrong(server.call("GET", path, key=key)) == ["cursor"]
