from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from standart import clock

# The moment of the example in RFC 9562 §A.6: 2022-02-22 19:22:22 UTC.
RFC_MILLISECONDS = 0x017F22E279B0


def test_now_is_aware_and_in_utc() -> None:
    before = datetime.now(UTC)
    moment = clock.now()
    assert moment.utcoffset() == timedelta(0)
    assert before <= moment <= datetime.now(UTC)


def test_timestamp_is_whole_seconds() -> None:
    before = int(time.time())
    stamp = clock.timestamp()
    assert isinstance(stamp, int)
    assert before <= stamp <= int(time.time())


def test_monotonic_never_goes_back() -> None:
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_ids_are_version_7_of_the_rfc_variant_and_unique() -> None:
    ids = [clock.new_id() for _ in range(10_000)]
    assert {item.version for item in ids} == {7}
    assert {item.variant for item in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == len(ids)


def test_ids_begin_with_the_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    item = clock.new_id()
    assert before <= item.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_later_milliseconds_are_greater(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(10**18, 10**18 + 50_000_000, 1_000_000))
    monkeypatch.setattr("standart.clock.time.time_ns", lambda: next(moments))
    ids = [clock.new_id() for _ in range(50)]
    assert ids == sorted(ids)


@pytest.mark.parametrize("fill", [b"\x00" * 10, b"\xff" * 10])
def test_version_and_variant_stand_whatever_the_random_bits(
    monkeypatch: pytest.MonkeyPatch, fill: bytes
) -> None:
    monkeypatch.setattr("standart.clock.os.urandom", lambda size: fill[:size])
    monkeypatch.setattr("standart.clock.time.time_ns", lambda: RFC_MILLISECONDS * 1_000_000)
    item = clock.new_id()
    assert (item.version, item.variant) == (7, uuid.RFC_4122)
    assert str(item).startswith("017f22e2-79b0-7")
    # 74 bits are free: all of them follow the source, none of the other six does.
    free = item.int & ~(0xFFFF_FFFF_FFFF << 80) & ~(0xF << 76) & ~(0x3 << 62)
    assert free.bit_count() == (74 if fill[0] else 0)
