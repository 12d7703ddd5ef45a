from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standart.encryption import Keyring, generate_key
from standart.errors import ConfigurationError

OLD, NEW, OTHER = generate_key("old"), generate_key("new"), generate_key("old")
RING = Keyring.parse(NEW)
THIRTY_TWO = base64.b64encode(bytes(32)).decode()


@given(st.binary(max_size=500), st.binary(max_size=50))
def test_what_is_sealed_opens_with_the_same_context(plain: bytes, context: bytes) -> None:
    box = RING.encrypt(plain, context)
    assert RING.decrypt(box, context) == plain


def test_a_box_shows_nothing_and_is_never_the_same() -> None:
    boxes = {RING.encrypt(b"whsec_secret", b"user") for _ in range(100)}
    assert len(boxes) == 100
    assert not any(b"whsec" in box for box in boxes)


def test_the_first_key_encrypts_and_all_open() -> None:
    before = Keyring.parse(OLD)
    box = before.encrypt(b"plain", b"row")
    rotated = Keyring.parse(f"{NEW}, {OLD}")
    assert rotated.decrypt(box, b"row") == b"plain"
    fresh = rotated.encrypt(b"plain", b"row")
    assert Keyring.parse(NEW).decrypt(fresh, b"row") == b"plain"
    with pytest.raises(ConfigurationError):
        before.decrypt(fresh, b"row")


def test_an_unknown_key_is_named_with_the_remedy() -> None:
    box = Keyring.parse(OLD).encrypt(b"plain", b"row")
    with pytest.raises(ConfigurationError) as error:
        RING.decrypt(box, b"row")
    assert error.value.variable == "STANDART_ENCRYPTION_KEYS"
    assert "'old'" in error.value.problem
    assert error.value.remedy == "Add that key again, after the one that encrypts"


def test_another_context_does_not_open_it() -> None:
    box = RING.encrypt(b"plain", b"row 1")
    with pytest.raises(ConfigurationError, match="does not open a stored secret"):
        RING.decrypt(box, b"row 2")


def test_another_key_of_the_same_name_does_not_open_it() -> None:
    box = Keyring.parse(OLD).encrypt(b"plain", b"row")
    with pytest.raises(ConfigurationError, match="does not open a stored secret"):
        Keyring.parse(OTHER).decrypt(box, b"row")


def test_no_bit_of_a_box_may_change() -> None:
    box = RING.encrypt(b"plain", b"row")
    for place in range(len(box) * 8):
        changed = bytearray(box)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(ConfigurationError):
            RING.decrypt(bytes(changed), b"row")


def test_no_shorter_box_opens() -> None:
    box = RING.encrypt(b"plain", b"row")
    for length in range(len(box)):
        with pytest.raises(ConfigurationError):
            RING.decrypt(box[:length], b"row")


def test_a_name_cannot_borrow_from_the_context() -> None:
    """Header and context are one authenticated text; the header's length is part of it."""
    key = NEW.partition(":")[2]
    ring = Keyring.parse(f"a:{key},ab:{key}")
    box = ring.encrypt(b"plain", b"bc")
    moved = box[:1] + b"\x02" + b"ab" + box[3:]
    with pytest.raises(ConfigurationError):
        ring.decrypt(moved, b"c")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "key 1 has no name"),
        ("k1", "key 1 has no name"),
        (f":{THIRTY_TWO}", "key 1 has no name"),
        (f"a b:{THIRTY_TWO}", "key 1 has no name"),
        (f"{'k' * 33}:{THIRTY_TWO}", "key 1 has no name"),
        (f"ключ:{THIRTY_TWO}", "key 1 has no name"),
        (f"k1:{THIRTY_TWO},", "key 2 has no name"),
        ("k1:not base64!", "key 1 is not valid base64"),
        ("k1:ключ", "key 1 is not valid base64"),
        ("k1:AAAA", "key 1 has 3 bytes, not 32"),
        ("k1:", "key 1 has 0 bytes, not 32"),
        (f"k1:{base64.b64encode(bytes(33)).decode()}", "key 1 has 33 bytes, not 32"),
        (f"k1:{THIRTY_TWO},k1:{THIRTY_TWO}", "key 2 has the same name"),
    ],
)
def test_a_wrong_ring_is_refused_without_showing_it(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Keyring.parse(text)
    assert error.value.variable == "STANDART_ENCRYPTION_KEYS"
    assert error.value.problem.startswith(problem)
    assert "generate_key" in error.value.remedy
    assert THIRTY_TWO not in str(error.value)


def test_a_ring_does_not_show_its_keys() -> None:
    assert repr(RING) == "Keyring()"


def test_generated_keys_differ_and_can_be_read() -> None:
    assert generate_key() != generate_key()
    assert generate_key().startswith("k1:")
    assert generate_key("2026-11").startswith("2026-11:")
    Keyring.parse(f"{generate_key('a')},{generate_key('b')}")
