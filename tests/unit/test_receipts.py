"""Receipts offline: what is right passes, and nothing else does, byte by byte."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standart.api import schemas
from standart.receipts import chain, document, keys
from standart.receipts.canonical import MAX_SAFE, NotJson, canonical, parse
from standart.receipts.keys import BadKeys, PublicKey, read_key, read_keys
from standart.receipts.verification import Result, verify
from tests.receipts import (
    KEY_ID,
    KNOWN,
    OTHER_ID,
    OTHER_PUBLIC,
    OTHER_SEED,
    PUBLIC,
    SEALS,
    SEED,
    content,
    exported,
    key_entry,
    key_list,
    link,
    signed,
)

NAMES = [
    *("shape", "canonical form", "key known", "signature", "status", "amounts", "entries"),
    "seal",
]


def failed(data: bytes, known: dict[str, PublicKey] = KNOWN, **more: Any) -> list[str]:
    """The names of the checks that failed; asserts that the verdict agrees with them."""
    verdict = verify(data, known, **more)
    names = [check.name for check in verdict.checks if check.result is Result.FAILED]
    assert verdict.is_right == (not names)
    assert all(check.detail.isascii() and check.detail.isprintable() for check in verdict.checks)
    return names


# What is right


def test_a_receipt_passes_every_check() -> None:
    verdict = verify(signed(), KNOWN)
    assert [check.name for check in verdict.checks] == NAMES
    assert verdict.is_right
    assert failed(signed() + b"\n") == []


FEE = {"id": "x", "rate": "0.03", "fixed": "1.00", "minimum": "2.00", "maximum": "3.50"}
RIGHT: dict[str, dict[str, Any]] = {
    "canceled": {
        "transaction__status": "canceled",
        "settlement": None,
        "seal": None,
    },
    "expired before any seal": {
        "transaction__status": "expired",
        "settlement": None,
        "seal": None,
        "chain_head": None,
    },
    "not sealed yet": {"seal": None},
    "sealed by the head": {"chain_head": {"number": 3, "hash": SEALS[2]["hash"]}},
    "refunded": {"transaction__refunded_amount": "100.00"},
    "a field more on the wire": {"transaction__colour": "red"},
    "by a fee schedule": {
        "transaction__fee_schedule": FEE,
        "transaction__commission": "3.50",
        "transaction__net": "96.50",
        "settlement__entries__1__amount": "96.50",
        "settlement__entries__2__amount": "3.50",
    },
    "no commission": {
        "transaction__commission_rate": "0",
        "transaction__commission": "0.00",
        "transaction__net": "100.00",
        "settlement__entries": [
            {"account": "clearing", "currency": "RUB", "amount": "-100.00"},
            {"account": "available", "currency": "RUB", "amount": "100.00"},
        ],
    },
    "yen": {
        "transaction__currency": "JPY",
        "transaction__amount": "100",
        "transaction__commission": "3",
        "transaction__net": "97",
        "transaction__refunded_amount": "0",
        "settlement__entries": [
            {"account": "clearing", "currency": "JPY", "amount": "-100"},
            {"account": "available", "currency": "JPY", "amount": "97"},
            {"account": "commission", "currency": "JPY", "amount": "3"},
        ],
    },
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_passes(case: str) -> None:
    assert failed(signed(**RIGHT[case])) == []


def test_a_retired_key_still_verifies() -> None:
    retired = {KEY_ID: PublicKey(KEY_ID, PUBLIC, "2026-12-01T00:00:00.000000Z")}
    verdict = verify(signed(), retired)
    assert verdict.is_right
    assert "retired 2026-12-01" in verdict.checks[2].detail


# Whatever is changed


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_no_byte_can_be_flipped(mask: int) -> None:
    data = signed()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= mask
        assert failed(bytes(changed)) != [], (place, bytes(changed[place - 20 : place + 20]))


def test_no_byte_can_be_cut_or_doubled() -> None:
    data = signed()
    for place in range(len(data)):
        assert failed(data[:place]) != [], place
        assert failed(data[:place] + data[place + 1 :]) != [], place
        assert failed(data[:place] + data[place : place + 1] + data[place:]) != [], place


@given(st.binary(max_size=200))
def test_no_bytes_bring_it_down(data: bytes) -> None:
    assert failed(data) == ["shape"]


def changed(*way: str, value: Any) -> bytes:
    """A signed receipt whose part was changed afterwards, written canonically."""
    found = json.loads(signed())
    place = found
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    return canonical(found)


CHANGED = {
    "amount": (("receipt", "transaction", "amount"), "900.00"),
    "reference": (("receipt", "transaction", "reference"), "mine"),
    "unknown field of the transaction": (("receipt", "transaction", "paid_to"), "me"),
    "metadata": (("receipt", "transaction", "metadata", "cart"), "18"),
    "no seal": (("receipt", "seal"), None),
    "another head": (("receipt", "chain_head", "number"), 9),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_part_breaks_the_signature(case: str) -> None:
    way, value = CHANGED[case]
    assert "signature" in failed(changed(*way, value=value))


SHAPES = {
    "unknown field": changed("mood", value="x"),
    "unknown field of the receipt": changed("receipt", "note", value="x"),
    "unknown field of the settlement": changed("receipt", "settlement", "note", value="x"),
    "field that moves the cursor": changed("receipt", "\x1b[2J", value="x"),
    "another version": changed("receipt", "version", value=2),
    "another type": changed("receipt", "type", value="payout_receipt"),
    "another algorithm": changed("algorithm", value="none"),
    "a number as text": changed("receipt", "chain_head", "number", value="5"),
    "no receipt": canonical({"algorithm": "ed25519", "key_id": KEY_ID, "signature": ""}),
    "an array": b"[" + signed() + b"]",
    "null": b"null",
    "empty": b"",
    "a space": b" ",
    "deep nesting": b"[" * 200_000,
    "deep nesting, closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 40_000,
    "huge": signed() + b" " * document.LONGEST,
    "NaN": signed().replace(b'"approvals":0', b'"approvals":NaN'),
    "Infinity": signed().replace(b'"approvals":0', b'"approvals":-Infinity'),
    "a fraction": signed().replace(b'"approvals":0', b'"approvals":0.0'),
    "an exponent": signed().replace(b'"approvals":0', b'"approvals":0e0'),
    "minus zero": signed().replace(b'"approvals":0', b'"approvals":-0'),
    "5000 digits": signed().replace(b'"approvals":0', b'"approvals":' + b"9" * 5000),
    "beyond what is exact": signed().replace(b'"approvals":0', b'"approvals":9007199254740992'),
    "a truth": signed().replace(b'"approvals":0', b'"approvals":true'),
    "a key twice": signed().replace(b'{"algorithm"', b'{"algorithm":"none","algorithm"'),
    "an amount twice": signed().replace(b'"amount":"100.00"', b'"amount":"9.00","amount":"100.00"'),
    "BOM": b"\xef\xbb\xbf" + signed(),
    "UTF-16": signed().decode().encode("utf-16"),
    "Latin-1": signed().replace("Чай".encode(), b"\xd7\xe0\xe9"),
    "half a surrogate pair": signed().replace("Чай".encode(), b"\\ud800"),
    "half a pair as bytes": signed().replace("Чай".encode(), b"\xed\xa0\x80"),
    "overlong": signed().replace(b"17", b"\xc0\xb1\xc0\xb7"),
    "NUL": signed().replace("Чай".encode(), b"\0"),
    "two receipts": signed() + signed(),
    "behind the end": signed() + b"x",
}


@pytest.mark.parametrize("case", SHAPES)
def test_what_is_no_receipt_fails_by_its_shape(case: str) -> None:
    assert failed(SHAPES[case]) == ["shape"]


FORMS = {
    "indented": json.dumps(json.loads(signed()), indent=1, ensure_ascii=False).encode(),
    "escaped": json.dumps(json.loads(signed()), separators=(",", ":"), sort_keys=True).encode(),
    "spaces behind": signed() + b"  ",
    "two line breaks": signed() + b"\n\n",
    "CRLF": signed() + b"\r\n",
    "another order": b'{"key_id":"%s",' % KEY_ID.encode()
    + signed().replace(b'"key_id":"%s",' % KEY_ID.encode(), b"", 1)[1:],
    "an escape more": signed().replace(b"Z", b"\\u005a", 1),
}


@pytest.mark.parametrize("case", FORMS)
def test_another_form_of_the_same_content_is_not_canonical(case: str) -> None:
    assert failed(FORMS[case]) == ["canonical form"]


def envelope(**changes: Any) -> bytes:
    return canonical({**json.loads(signed()), **changes})


def unused_bits() -> str:
    """The same 64 bytes in base64 that ends in other bits, which most readers pass over."""
    text = str(json.loads(signed())["signature"])
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    lazy = text[:-3] + letters[letters.index(text[-3]) ^ 1] + text[-2:]
    assert base64.b64decode(lazy) == base64.b64decode(text)
    return lazy


SIGNATURES = {
    "of another receipt": json.loads(signed(transaction__net="1.00"))["signature"],
    "by another key": json.loads(signed(OTHER_SEED))["signature"],
    "nothing": "",
    "no base64": "?" * 88,
    "63 bytes": base64.b64encode(bytes(63)).decode(),
    "zeros": base64.b64encode(bytes(64)).decode(),
    "unused bits": unused_bits(),
    "a line break": json.loads(signed())["signature"] + "\n",
    "URL-safe": "-_" * 43 + "==",
    "not ASCII": "Я" * 88,
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_another_signature_is_not_believed(case: str) -> None:
    assert failed(envelope(signature=SIGNATURES[case])) == ["signature"]


def test_a_signature_plus_the_order_of_the_curve_is_not_believed() -> None:
    """Ed25519's second form of the same signature, which careless libraries take."""
    order = 2**252 + 27742317777372353535851937790883648493
    raw = base64.b64decode(json.loads(signed())["signature"])
    moved = int.from_bytes(raw[32:], "little") + order
    second = raw[:32] + moved.to_bytes(32, "little")
    assert failed(envelope(signature=keys.encoded(second))) == ["signature"]


# Keys


def test_a_receipt_by_an_unknown_key_is_not_believed() -> None:
    assert failed(signed(OTHER_SEED)) == ["key known"]
    assert failed(signed(), {}) == ["key known"]
    both = {**KNOWN, OTHER_ID: PublicKey(OTHER_ID, OTHER_PUBLIC)}
    assert failed(signed(OTHER_SEED), both) == []
    # Passed off as signed by the other one of two known keys.
    assert failed(envelope(key_id=OTHER_ID), both) == ["key known", "signature"]


def test_a_list_of_keys_is_read_by_their_names() -> None:
    retired = key_entry(OTHER_PUBLIC, retired_at="2026-11-20T00:00:00.000000Z", note="more")
    found = read_keys(key_list(key_entry(), retired))
    assert found == {
        KEY_ID: PublicKey(KEY_ID, PUBLIC),
        OTHER_ID: PublicKey(OTHER_ID, OTHER_PUBLIC, "2026-11-20T00:00:00.000000Z"),
    }
    assert read_keys(b'{"keys":[]}') == {}
    assert read_key(keys.encoded(PUBLIC) + "\n") == PublicKey(KEY_ID, PUBLIC)


BAD_KEYS = {
    "a key under another's name": key_list(key_entry(OTHER_PUBLIC, id=KEY_ID)),
    "another algorithm": key_list(key_entry(algorithm="rsa")),
    "no base64": key_list(key_entry(public_key="?")),
    "31 bytes": key_list(key_entry(public_key=keys.encoded(bytes(31)))),
    "no list": b'{"keys":{}}',
    "no keys": b"{}",
    "not JSON": b"<html>",
    "a key twice": b'{"keys":[],"keys":[]}',
    "deep": b"[" * 100_000,
    "empty": b"",
    "a receipt": signed(),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_what_is_no_list_of_keys_is_refused(case: str) -> None:
    with pytest.raises(BadKeys):
        read_keys(BAD_KEYS[case])


@pytest.mark.parametrize("text", ["", "?", "AAAA", keys.encoded(bytes(33)), KEY_ID, "Я"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadKeys):
        read_key(text)


# What a receipt says, rightly signed: an issuer that errs is found out as well


def entries(*amounts: tuple[str, str], currency: str = "RUB") -> list[dict[str, str]]:
    return [
        {"account": account, "currency": currency, "amount": amount} for account, amount in amounts
    ]


SAYS: dict[str, tuple[dict[str, Any], str]] = {
    "pending": ({"transaction__status": "pending"}, "status"),
    "not finished": ({"transaction__finished_at": None}, "status"),
    "confirmed, not settled": ({"settlement": None, "seal": None}, "status"),
    "canceled and settled": ({"transaction__status": "canceled"}, "status"),
    "no id": ({"transaction__id": "17"}, "status"),
    "net too high": ({"transaction__net": "97.01"}, "amounts"),
    "negative commission": (
        {"transaction__commission": "-3.00", "transaction__net": "103.00"},
        "amounts",
    ),
    "commission above the amount": (
        {"transaction__commission": "101.00", "transaction__net": "-1.00"},
        "amounts",
    ),
    "commission by no rule": (
        {"transaction__commission": "3.01", "transaction__net": "96.99"},
        "amounts",
    ),
    "rate above one": ({"transaction__commission_rate": "1.01"}, "amounts"),
    "no rate": ({"transaction__commission_rate": "3%"}, "amounts"),
    "schedule of another rate": ({"transaction__fee_schedule": {**FEE, "rate": "0"}}, "amounts"),
    "schedule below nothing": (
        {"transaction__fee_schedule": {**FEE, "fixed": "-1.00"}},
        "amounts",
    ),
    "nothing": (
        {
            "transaction__amount": "0.00",
            "transaction__commission": "0.00",
            "transaction__net": "0.00",
        },
        "amounts",
    ),
    "too much": ({"transaction__amount": "10000000000000.01"}, "amounts"),
    "more refunded than paid": ({"transaction__refunded_amount": "100.01"}, "amounts"),
    "refunded below nothing": ({"transaction__refunded_amount": "-0.01"}, "amounts"),
    "unknown currency": ({"transaction__currency": "XXX"}, "amounts"),
    "other digits": ({"transaction__amount": "100.0"}, "amounts"),
    "leading zero": ({"transaction__amount": "0100.00"}, "amounts"),
    "minus nothing": ({"transaction__refunded_amount": "-0.00"}, "amounts"),
    "fullwidth": ({"transaction__amount": "１00.00"}, "amounts"),
    "exponent": ({"transaction__amount": "1e2"}, "amounts"),
    "a line too few": (
        {"settlement__entries": entries(("clearing", "-100.00"), ("available", "97.00"))},
        "entries",
    ),
    "no lines": ({"settlement__entries": []}, "entries"),
    "another split": (
        {
            "settlement__entries": entries(
                ("clearing", "-100.00"), ("available", "96.00"), ("commission", "4.00")
            )
        },
        "entries",
    ),
    "another account": ({"settlement__entries__1__account": "adjustment"}, "entries"),
    "another currency": ({"settlement__entries__1__currency": "USD"}, "entries"),
    "a line of nothing": (
        {
            "settlement__entries": [
                *content()["settlement"]["entries"],
                *entries(("available", "0.00")),
            ]
        },
        "entries",
    ),
    "sealed above the head": ({"chain_head": {"number": 2, "hash": SEALS[1]["hash"]}}, "seal"),
    "sealed without a head": ({"chain_head": None}, "seal"),
    "two hashes": ({"chain_head": {"number": 3, "hash": SEALS[1]["hash"]}}, "seal"),
    "no hash": ({"seal__hash": "x"}, "seal"),
    "seal zero": ({"seal__number": 0}, "seal"),
}


@pytest.mark.parametrize("case", SAYS)
def test_what_cannot_be_is_found_though_it_is_signed(case: str) -> None:
    changes, check = SAYS[case]
    names = failed(signed(**changes))
    assert check in names
    assert "signature" not in names


def test_a_canceled_transaction_has_no_seal() -> None:
    nothing = {"transaction__status": "canceled", "settlement": None}
    assert failed(signed(**nothing)) == ["seal"]


# The chain


def lines(*seals: dict[str, Any]) -> list[bytes]:
    return [json.dumps(each).encode() + b"\n" for each in seals]


def test_the_chain_has_the_seals_of_the_receipt() -> None:
    assert failed(signed(), seals=lines(*SEALS)) == []
    assert failed(signed(), seals=lines(*exported(8))) == []
    assert failed(signed(), seals=lines(*SEALS[2:])) == [], "it may begin in the middle"
    assert failed(signed(seal=None, chain_head=None), seals=[]) == []


CHAINS = {
    "a cut tail": SEALS[:4],
    "a cut head": SEALS[3:],
    "nothing": [],
    "a gap": [*SEALS[:1], *SEALS[2:]],
    "two in another order": [SEALS[1], SEALS[0], *SEALS[2:]],
    "a seal twice": [SEALS[0], *SEALS],
    "a changed count": [{**SEALS[0], "journals": 11}, *SEALS[1:]],
    "a changed content": [{**SEALS[0], "content": "0" * 64}, *SEALS[1:]],
    "a chain made anew": [SEALS[0], *[{**each, "hash": "0" * 64} for each in SEALS[1:]]],
}


@pytest.mark.parametrize("case", CHAINS)
def test_another_chain_is_found(case: str) -> None:
    assert failed(signed(), seals=lines(*CHAINS[case])) == ["chain"]


def test_a_chain_made_anew_from_the_first_seal_is_found() -> None:
    anew = [link(1, "f" * 64)]
    for number in range(2, 6):
        anew.append(link(number, anew[-1]["hash"]))
    assert failed(signed(), seals=lines(*anew)) == ["chain"]


@pytest.mark.parametrize(
    "line", [b"", b"x", b"{}", b"[" * 60_000, b'{"number":1}', b" " * (chain.LONGEST_LINE + 1)]
)
def test_what_is_no_export_is_named_by_its_line(line: bytes) -> None:
    with pytest.raises(chain.BadSeals, match="line 3"):
        verify(signed(), KNOWN, seals=[*lines(*SEALS[:2]), line])


# Canonical JSON


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({}, "{}"),
        ([], "[]"),
        (None, "null"),
        ({"b": 1, "a": [1, None, "x"]}, '{"a":[1,null,"x"],"b":1}'),
        ('\x00\x1f"\\/\b\f\n\r\t\x7f\u2028ё', '"\\u0000\\u001f\\"\\\\/\\b\\f\\n\\r\\t\x7f\u2028ё"'),
        (-MAX_SAFE, "-9007199254740991"),
        # RFC 8785 §3.2.3: by UTF-16 code units, not by code points.
        (
            {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "ö": 7},
            '{"\\r":2,"1":4,"\u0080":6,"ö":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}',
        ),
    ],
)
def test_each_value_has_one_form(value: Any, written: str) -> None:
    assert canonical(value) == written.encode()
    assert parse(canonical(value)) == value


@pytest.mark.parametrize("value", [1.0, True, b"x", (1,), MAX_SAFE + 1, "\ud800", {"a": {1}}])
def test_what_has_no_place_in_a_receipt_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        canonical(value)


JSON = st.recursive(
    st.none()
    | st.integers(-MAX_SAFE, MAX_SAFE)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
)


@given(JSON)
def test_what_is_written_is_read_again_and_written_alike(value: Any) -> None:
    assert canonical(parse(canonical(value))) == canonical(value)


@given(st.binary(max_size=60))
def test_the_reader_refuses_or_agrees_with_the_standard_library(data: bytes) -> None:
    try:
        found = parse(data)
    except NotJson:
        return
    assert found == json.loads(data)


# Keys and answers


def test_the_key_of_rfc_8032() -> None:
    """Test 2 of RFC 8032 §7.1."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = keys.public_key_of(seed)
    assert public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert keys.sign(seed, b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b541")


def test_the_same_content_is_signed_alike() -> None:
    assert signed() == signed()
    assert signed() == canonical(json.loads(signed()))
    assert document.signed(KEY_ID, SEED, **content()) == signed()


def test_what_is_signed_has_the_form_of_the_documented_answer() -> None:
    msgspec.json.decode(signed(), type=schemas.SignedReceipt)
    wire = set(schemas.Transaction.__struct_fields__)
    assert set(document.Transaction.__struct_fields__) <= wire
    assert set(document.Fee.__struct_fields__) <= set(schemas.AppliedFee.__struct_fields__)
    for ours, theirs in (
        (document.Receipt, schemas.Receipt),
        (document.Envelope, schemas.SignedReceipt),
        (document.Settlement, schemas.Settlement),
        (document.Entry, schemas.ReceiptEntry),
        (document.Anchor, schemas.SealAnchor),
        (document.Issuer, schemas.Issuer),
    ):
        assert ours.__struct_fields__ == theirs.__struct_fields__
