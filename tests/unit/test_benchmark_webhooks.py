"""The webhook benchmark's own eyes: what its receiver notes, and when a round is refused."""

import pytest

from benchmarks.rounds import Distorted, Round
from benchmarks.webhooks.__main__ import ratios
from benchmarks.webhooks.bare import request
from benchmarks.webhooks.latency import Latency
from benchmarks.webhooks.messages import messages
from benchmarks.webhooks.receiver import SAMPLE, Book
from benchmarks.webhooks.scene import Seen, check_seen
from standart.webhooks import signing


def take(book, message, secret):
    head, _, body = request(8000, "/at-once", message, secret).partition(b"\r\n\r\n")
    book.take(head, body)


def test_the_receiver_counts_messages_by_id_and_verifies_a_sample():
    secret = signing.new_secret()
    book = Book(secret)
    made = list(messages(SAMPLE + 1))
    for message in [*made, made[0]]:
        take(book, message, secret)

    report = book.report()

    assert report["requests"] == SAMPLE + 2
    assert report["arrivals"].keys() == {each.id for each in made}
    assert (report["verified"], report["forged"]) == (2, 0)
    book.reset()
    assert book.count() == {"messages": 0, "requests": 0}


def test_the_receiver_finds_a_message_that_somebody_else_signed():
    book = Book(signing.new_secret())
    take(book, next(messages(1)), signing.new_secret())
    assert book.report()["forged"] == 1


def test_the_receiver_takes_a_message_without_an_id_for_forged():
    book = Book(signing.new_secret())
    book.take(b"POST /at-once HTTP/1.1\r\ncontent-length: 2", b"{}")
    assert book.report()["forged"] == 1


@pytest.mark.parametrize(
    ("arrived", "forged", "verified"),
    [({"a"}, 0, 1), ({"a", "b", "c"}, 0, 1), ({"a", "b"}, 1, 1), ({"a", "b"}, 0, 0)],
)
def test_a_round_without_all_messages_and_good_signatures_is_refused(arrived, forged, verified):
    seen = Seen(dict.fromkeys(arrived, 0.0), len(arrived), verified, forged)
    with pytest.raises(Distorted, match="of 2 messages"):
        check_seen("it", seen, {"a", "b"})


def test_messages_that_come_twice_are_counted_and_no_distortion():
    seen = Seen({"a": 0.0, "b": 0.0}, requests=3, verified=1, forged=0)
    check_seen("it", seen, {"a", "b"})
    assert seen.doubled == 1


def test_the_95th_percentile_is_what_nineteen_of_twenty_do_not_exceed():
    latency = Latency([float(each) for each in range(101)])
    assert (latency.p50, latency.p95) == (50.0, 95.0)


def test_a_ratio_stands_beside_its_aim():
    rounds = {
        "one": [Round(done=100, seconds=1.0)],
        "other": [Round(done=10, seconds=1.0)],
    }
    assert ratios(rounds, [("one", "other", 20.0)]) == [
        {"above": "one", "below": "other", "ratio": 10.0, "aim": 20.0}
    ]
