"""The check-up of receivers: good ones pass, and each fault is found and named."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from standart import clock
from standart.db import transaction
from standart.encryption import Keyring
from standart.models import AuditRecord, User
from standart.services import endpoint_service
from standart.services.access import SYSTEM
from standart.webhooks import checkup, signing
from standart.webhooks.addresses import UrlRules
from standart.webhooks.checkup import Step
from standart.webhooks.sender import Attempt, Delivery
from tests.builders import TestUser, make_user
from tests.integration.commands import Run, refused
from tests.integration.hooks import Answer, GoodReceiver, Hook, serving

RULES = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"),))
SECRET = signing.new_secret()


def examine(hook: Hook, **options: object) -> dict[str, set[str]]:
    """Run a check-up of ``hook``; the codes of what was found by scenario."""
    with serving(hook) as url:
        return codes(start(url, **options))


def start(url: str, rules: UrlRules = RULES, **options: object) -> list[Step]:
    return list(
        checkup.check(
            url,
            [SECRET],
            rules,
            new_id=clock.new_id,
            timestamp=clock.timestamp(),
            **options,  # type: ignore[arg-type]  # whatever a test wants changed
        )
    )


def codes(steps: list[Step]) -> dict[str, set[str]]:
    return {step.scenario: {each.code for each in step.findings} for step in steps if step.findings}


def test_a_good_receiver_passes_and_all_it_gets_says_that_it_is_a_test() -> None:
    good = GoodReceiver(SECRET)
    assert examine(good, extra_headers={"x-door": "open"}) == {}

    assert len(good.headers) == 9
    for headers in good.headers:
        assert headers["webhook-test"] == "1"
        assert headers["x-door"] == "open"
        assert UUID(headers["webhook-id"]).version == 7
    assert len(good.accepted) == 4  # the doubled one counts once
    events = [json.loads(body) for _, body in good.accepted]
    for event in events:
        assert (event["type"], event["test"]) == ("ping", True)
        assert event["id"].startswith("00000000-0000-0000-0000-")
        assert event["id"] == event["data"]["id"]
        assert event["data"]["user_id"] == str(UUID(int=0))
    newer, older = events[-2:]
    assert newer["id"] == older["id"]
    assert (newer["sequence"], older["sequence"]) == (2, 1)


def test_the_type_can_be_that_of_real_events() -> None:
    good = GoodReceiver(SECRET)
    assert examine(good, type="transaction.confirmed") == {}
    assert {json.loads(body)["type"] for _, body in good.accepted} == {"transaction.confirmed"}


def verified(headers: dict[str, str], body: bytes, *, fresh: bool = True) -> bool:
    """A verification with its parts laid open, so that tests can leave some out."""
    moment = int(headers["webhook-timestamp"])
    wanted = signing.sign([SECRET], headers["webhook-id"], moment, body)
    right = wanted in headers.get("webhook-signature", "").split(" ")
    return right and not (fresh and abs(time.time() - moment) > 300)


def accepts_all(headers: dict[str, str], body: bytes) -> int:
    return 200


def without_age(headers: dict[str, str], body: bytes) -> int:
    return 200 if verified(headers, body, fresh=False) else 401


def signature_optional(headers: dict[str, str], body: bytes) -> int:
    return 200 if "webhook-signature" not in headers or verified(headers, body) else 401


def body_not_signed(headers: dict[str, str], body: bytes) -> int:
    """Believes a signature that it has seen over another body."""
    altered = body.replace(b'"amount":"9.00"', b'"amount":"1.00"')
    return 200 if verified(headers, altered) else 401


def one_signature_only(headers: dict[str, str], body: bytes) -> int:
    signature = headers.get("webhook-signature", "")
    return 200 if " " not in signature and verified(headers, body) else 401


def parses_first(headers: dict[str, str], body: bytes) -> int:
    """Verifies what its JSON library makes of the body."""
    return 200 if verified(headers, json.dumps(json.loads(body)).encode()) else 403


def hex_digest(headers: dict[str, str], body: bytes) -> int:
    """Takes the secret's text for the key."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.digest(SECRET.encode(), content, hashlib.sha256)
    expected = "v1," + base64.b64encode(digest).decode()
    return 200 if expected in headers.get("webhook-signature", "") else 400


def fails_at_forged(headers: dict[str, str], body: bytes) -> int:
    return 200 if verified(headers, body) else 500


def redirects(headers: dict[str, str], body: bytes) -> Answer:
    return 301, {"Location": "https://elsewhere.example/"}, b""


def says_too_much(headers: dict[str, str], body: bytes) -> Answer:
    return (200 if verified(headers, body) else 401), {}, b"x" * 100_000


FORGERIES = ("forged", "altered", "unsigned", "stale")
TAKEN = ("good", "duplicate", "rotated", "newer_first", "older_last")


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        (accepts_all, {each: {f"accepted_{each}"} for each in FORGERIES}),
        (without_age, {"stale": {"accepted_stale"}}),
        (signature_optional, {"unsigned": {"accepted_unsigned"}}),
        (body_not_signed, {"altered": {"accepted_altered"}}),
        (one_signature_only, {"rotated": {"refused_rotated"}}),
        (parses_first, {"good": {"refused_good"}}),
        (hex_digest, {"good": {"refused_good"}}),
        (fails_at_forged, {each: {"failed_instead_of_refusing"} for each in FORGERIES}),
        (redirects, {"good": {"redirect"}}),
        (says_too_much, {each: {"answer_incomplete"} for each in (*TAKEN, *FORGERIES)}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_fault_is_found_and_nothing_else(hook: Hook, expected: dict[str, set[str]]) -> None:
    assert examine(hook) == expected


def test_a_receiver_that_turns_down_what_it_has_taken_is_told() -> None:
    good = GoodReceiver(SECRET)

    def unique(headers: dict[str, str], body: bytes) -> int:
        known = len(good.accepted)
        status = good(headers, body)
        return 409 if status == 204 and len(good.accepted) == known else status

    assert examine(unique) == {"duplicate": {"refused_duplicate"}}


def test_a_receiver_that_insists_on_order_is_told() -> None:
    newest: dict[str, int] = {}
    good = GoodReceiver(SECRET)

    def in_order(headers: dict[str, str], body: bytes) -> int:
        status = good(headers, body)
        if status != 204:
            return status
        event = json.loads(body)
        if event["sequence"] < newest.get(event["id"], 0):
            return 409
        newest[event["id"]] = event["sequence"]
        return 200

    assert examine(in_order) == {"older_last": {"refused_older_last"}}


def test_a_receiver_that_wants_the_first_event_first_is_told() -> None:
    """The good one is its second event too, so nothing gets through."""
    seen: set[str] = set()

    def from_the_first(headers: dict[str, str], body: bytes) -> int:
        event = json.loads(body)
        known = event["id"] in seen or event["sequence"] == 1
        seen.add(event["id"])
        if not verified(headers, body):
            return 401
        return 200 if known else 422

    found = examine(from_the_first)
    assert found == {"good": {"refused_good"}}


def test_no_answer_ends_the_check_up_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        steps = start(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert codes(steps) == {"good": {"unreachable"}}
    assert len(steps) == 1


def test_a_receiver_that_never_answers_is_told_so() -> None:
    over = threading.Event()

    def silent(headers: dict[str, str], body: bytes) -> int:
        over.wait()
        return 200

    with serving(silent) as url:
        found = codes(start(url, deadline=0.2))
        over.set()
    assert found == {"good": {"timeout"}}


def test_addresses_that_webhooks_may_not_go_to_are_not_connected_to() -> None:
    good = GoodReceiver(SECRET)
    with serving(good) as url:
        found = codes(start(url, UrlRules(allowed_networks=(ip_network("10.0.0.0/8"),))))
    assert found == {"good": {"blocked"}}
    assert good.headers == []


ANSWERED = Attempt(
    outcome="delivered", status_code=200, excerpt="", retry_after=None, duration_ms=1, error=""
)


@pytest.mark.parametrize(
    ("attempt", "code", "words"),
    [
        (replace(ANSWERED, duration_ms=5001), "slow", "took 5.0 s"),
        (replace(ANSWERED, outcome="http_401", status_code=401), "refused_good", "raw bytes"),
        (replace(ANSWERED, outcome="http_404", status_code=404), "refused_good", "path"),
        (replace(ANSWERED, outcome="http_410", status_code=410), "refused_good", "disable"),
        (replace(ANSWERED, outcome="http_418", status_code=418), "refused_good", "fields"),
        (replace(ANSWERED, outcome="http_422", status_code=422), "refused_good", "fields"),
        (replace(ANSWERED, outcome="http_503", status_code=503), "refused_good", "log"),
        (replace(ANSWERED, outcome="http_308", status_code=308), "redirect", "Register"),
        (
            replace(ANSWERED, outcome="tls", status_code=None, error="self-signed certificate"),
            "tls",
            "self-signed",
        ),
        (replace(ANSWERED, outcome="dns", status_code=None, error="unknown"), "dns", "no address"),
        (replace(ANSWERED, outcome="protocol", status_code=None, error="x"), "no_http", "HTTP"),
        (replace(ANSWERED, outcome="too_large", status_code=None, error="x"), "too_large", "more"),
    ],
)
def test_what_came_of_it_is_said_in_words(attempt: Attempt, code: str, words: str) -> None:
    made = checkup.scenarios(
        "https://shop.example/", [SECRET], new_id=clock.new_id, timestamp=1, extra_headers={}
    )

    def send(delivery: Delivery) -> Attempt:
        return attempt

    (finding,) = next(checkup.judge(made, send)).findings
    assert finding.code == code
    assert words in finding.message


# The command


def test_the_command_praises_a_good_receiver(run: Run) -> None:
    with serving(GoodReceiver(SECRET)) as url:
        done = run("check-receiver", url, "--secret", SECRET)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 10
    assert lines[-1] == "the receiver does all of it right"
    assert all(line.endswith("ok") for line in lines[:-1])


def test_the_command_says_what_is_wrong(run: Run) -> None:
    with serving(accepts_all) as url:
        done = run("check-receiver", url, "--secret-stdin", typed=f"{SECRET}\n")
    assert done.exit_code == 1
    assert "accepted_forged: It accepted a message that was signed with another" in done.stdout
    assert "4 things to mend" in done.stderr


def test_the_command_speaks_json(run: Run) -> None:
    with serving(without_age) as url:
        done = run("check-receiver", url, "--secret", SECRET, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    by_name = {each["scenario"]: each for each in told["steps"]}
    assert by_name["good"]["findings"] == []
    assert by_name["stale"]["status_code"] == 200
    assert [each["code"] for each in by_name["stale"]["findings"]] == ["accepted_stale"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["http://127.0.0.1:1/"], "--secret"),
        (["http://127.0.0.1:1/", "--secret", "abc"], "whsec_"),
        (["ftp://127.0.0.1/", "--secret", SECRET], "https://"),
        (["http://10.0.0.1/", "--secret", SECRET], "https://"),
        ([str(UUID(int=1)), "--secret", SECRET], "has its own"),
    ],
)
def test_nonsense_is_refused(run: Run, arguments: list[str], word: str) -> None:
    refused(run("check-receiver", *arguments), 2, word)


def test_an_endpoint_is_checked_with_what_is_its_own(
    run: Run, engine: Engine, keyring: Keyring, superuser: Engine
) -> None:
    good = GoodReceiver("")
    with serving(good) as url:
        shop = make_user(engine, keyring, webhook_url=url)
        with Session(engine) as session, transaction(session):
            endpoint = session.get_one(User, shop.id).endpoint
            endpoint.headers = endpoint_service.seal_headers(keyring, shop.id, {"x-door": "open"})
            good.secret = endpoint_service.rotate_secret(session, SYSTEM, keyring, endpoint)
        before = contents(superuser)
        done = run("check-receiver", str(shop.id))
        assert done.exit_code == 0, done.output
        # While the former secret is valid, it signs too.
        good.secret = shop.webhook_secret
        assert run("check-receiver", str(shop.id)).exit_code == 0
    assert {headers["x-door"] for headers in good.headers} == {"open"}
    after = contents(superuser)
    assert after.pop("audit_log") == before.pop("audit_log") + 2
    assert after == before
    with Session(engine) as session:
        record = session.query(AuditRecord).order_by(AuditRecord.id.desc()).first()
        assert record is not None
        assert (record.action, record.object_id) == ("endpoint.checked", str(shop.id))


def contents(superuser: Engine) -> dict[str, int]:
    tables = ("audit_log", "events", "deliveries", "attempts", "webhook_endpoints")
    with superuser.connect() as connection:
        return {
            table: int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
            for table in tables
        }


def test_after_the_overlap_the_former_secret_signs_no_more(
    run: Run, engine: Engine, keyring: Keyring
) -> None:
    good = GoodReceiver("")
    with serving(good) as url:
        shop = make_user(engine, keyring, webhook_url=url)
        good.secret = shop.webhook_secret
        with Session(engine) as session, transaction(session):
            endpoint = session.get_one(User, shop.id).endpoint
            endpoint_service.rotate_secret(session, SYSTEM, keyring, endpoint)
            endpoint.previous_secret_until = clock.now() - timedelta(seconds=1)
        done = run("check-receiver", str(shop.id))
    assert done.exit_code == 1
    assert "refused_good" in done.stdout


def test_an_endpoint_without_a_url_or_unknown_is_refused(run: Run, merchant: TestUser) -> None:
    refused(run("check-receiver", str(merchant.id)), 1, "no URL")
    refused(run("check-receiver", str(clock.new_id())), 1)
