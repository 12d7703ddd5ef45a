"""`docs/webhooks.md` is true: its programs run, its bodies are compared with what is sent.

Every event type goes through the real engine to a receiver that verifies by the
`standardwebhooks` package, an implementation that shares nothing with ours.
"""

from __future__ import annotations

import base64
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from standart import clock
from standart.api import openapi
from standart.db import autocommit, transaction
from standart.delivery import deliverer
from standart.encryption import Keyring
from standart.models import DisabledReason, Role, Scope, User, WebhookEndpoint, WebhookLane
from standart.services import endpoint_service, transaction_service
from standart.services.endpoint_rules import EVENT_TYPES
from standart.webhooks import checkup, signing
from standart.webhooks.addresses import UrlRules
from standart.webhooks.sender import Delivery, send_all
from tests.builders import TestUser, make_key, make_user, overdue
from tests.integration.concurrency import wait_until
from tests.integration.hooks import GoodReceiver, serving
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE, TWIN = (
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("webhooks.md", "webhooks.ru.md")
)
LOOPBACK = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"),))
IBAN = {"iban": "DE89370400440532013000"}


class Merchant:
    """A merchant and an admin, who do over HTTP whatever makes an event."""

    def __init__(self, client: FlaskClient, key: str, admin: TestUser, user_id: UUID) -> None:
        self.client, self.user_id = client, user_id
        self.own = {"Authorization": f"Bearer {key}"}
        self.admin = admin.headers

    def post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201, 202), answer.text
        made: dict[str, Any] = answer.get_json()
        return made

    def create(self, amount: str = "100.00", **fields: Any) -> str:
        body = {"amount": amount, **fields}
        return str(self.post("/create_transaction", body, self.own)["id"])

    def payout(self) -> str:
        body = {"amount": "10.00", "destination": IBAN, "reference": "week-47"}
        return str(self.post("/create_payout", body, self.own)["id"])

    def approve(self, payout: str) -> str:
        self.post("/approve_payout", {"id": payout}, self.admin)
        return payout

    def do_everything(self, superuser: Engine) -> None:
        """All that merchants are told of, an endpoint that is gone apart."""
        paid = self.create(reference="order-1017", metadata={"basket": "42"})
        self.post("/confirm_transaction", {"id": paid}, self.admin)
        self.post("/cancel_transaction", {"id": self.create(), "reason": "changed"}, self.own)
        late = self.create()
        overdue(superuser, late)
        with autocommit(superuser) as connection:
            assert transaction_service.expire_overdue(connection, batch=10) == 1
        self.post("/create_refund", {"id": paid, "amount": "30.00"}, self.own)
        for result in ("paid", "failed"):
            body = {"id": self.approve(self.payout()), "result": result}
            self.post("/complete_payout", body, self.admin)
        self.post("/reject_payout", {"id": self.payout(), "reason": "no"}, self.admin)
        self.post("/cancel_payout", {"id": self.payout()}, self.own)
        correction = {"user_id": str(self.user_id), "direction": "credit", "reason": "counted anew"}
        self.post("/create_adjustment", {"amount": "5.00", **correction}, self.admin)
        self.post(f"/webhook_endpoints/{self.user_id}/test", {}, self.own)


def add_endpoint(session: Session, keyring: Keyring, user_id: UUID) -> UUID:
    """A second endpoint that wants nothing of all this."""
    endpoint_id = UUID(int=user_id.int + 1)
    session.add(
        WebhookEndpoint(
            user_id=user_id,
            id=endpoint_id,
            url="https://gone.example/hook",
            event_types=["webhook_endpoint.disabled"],
            secret=endpoint_service.seal_secret(keyring, endpoint_id, signing.new_secret()),
        )
    )
    session.flush()
    session.add(WebhookLane(user_id=user_id, endpoint_id=endpoint_id))
    return endpoint_id


@pytest.fixture
def sent(app: Flask, engine: Engine, superuser: Engine, keyring: Keyring) -> Iterator[GoodReceiver]:
    """A receiver that got an event of every type, from the engine itself."""
    receiver = GoodReceiver("")
    with serving(receiver) as url:
        shop = make_user(engine, keyring, webhook_url=url)
        admin = make_user(engine, keyring, role=Role.ADMIN)
        receiver.secret = shop.webhook_secret
        with Session(engine) as session, transaction(session):
            session.get_one(User, shop.id).endpoint.event_types = ["*"]
            second = add_endpoint(session, keyring, shop.id)
        key = make_key(engine, shop, Scope.READ, Scope.WRITE, Scope.REFUND, Scope.PAYOUT)
        Merchant(app.test_client(), key, admin, shop.id).do_everything(superuser)
        with autocommit(engine) as connection:
            endpoint_service.stop(connection, shop.id, second, DisabledReason.GONE)
        with app.app_context():
            deliverer().run()
        yield receiver


def test_everything_that_is_sent_verifies_with_the_reference_library(
    sent: GoodReceiver, engine: Engine
) -> None:
    with engine.connect() as connection:
        written = connection.execute(text("SELECT id::text, payload FROM events")).all()
    assert {json.loads(payload)["type"] for _, payload in written} == {*EVENT_TYPES, "ping"}
    assert len(sent.headers) == len(sent.accepted)
    assert {(each, body.decode()) for each, body in sent.accepted} == {
        tuple(row) for row in written
    }


def shape(value: Any) -> Any:
    """The names and kinds of a body's parts, in their order, without what they say."""
    if isinstance(value, dict):
        return [(name, shape(part)) for name, part in value.items()]
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return type(value).__name__


def test_the_bodies_of_the_page_are_those_that_are_sent(sent: GoodReceiver) -> None:
    shown = [json.loads(block) for block in blocks("json")]
    assert len(shown) == 5
    received = [json.loads(body) for _, body in sent.accepted]
    for event in shown:
        alike = [shape(each) for each in received if each["type"] == event["type"]]
        assert shape(event) in alike


def sequences(page: str) -> set[tuple[str, int]]:
    """Each type that ``page`` names, with its sequence."""
    return {
        (name, int(sequence))
        for names, sequence in re.findall(r"^\| (`.*`) \| ([123]) \|", page, re.MULTILINE)
        for name in re.findall(r"`([a-z_.]+)`", names)
    }


def test_the_page_names_every_type_and_its_sequence(sent: GoodReceiver) -> None:
    received = [json.loads(body) for _, body in sent.accepted]
    assert sequences(PAGE) == {(event["type"], event["sequence"]) for event in received}


def test_both_languages_show_the_same() -> None:
    def exact(page: str) -> list[list[str]]:
        """What must not differ: programs and bodies, commands, and the first cells of tables."""
        forms = (
            r"^```.*?^```$",
            r"^    [.a-z].*?(?:  |$)",
            r"^\| (`[^`]*`(?:, …?`[^`]*`)*)",
        )
        return [re.findall(form, page, re.MULTILINE | re.DOTALL) for form in forms]

    assert exact(PAGE) == exact(TWIN)
    assert sequences(PAGE) == sequences(TWIN)
    assert all(len(found) >= 5 for found in exact(PAGE))


def test_every_call_of_the_page_is_there() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z]+ [^`]*`(?:, )?)+) \|", PAGE, re.MULTILINE)
    told = [call.split(" ") for row in rows for call in re.findall("`([^`]*)`", row)]
    paths = openapi.document()["paths"]
    known = {
        (method.upper(), re.sub(r"\{[^}]*\}", "{id}", path))
        for path, operations in paths.items()
        for method in operations
    }
    asked = {(method, path.replace("…", "/webhook_endpoints")) for method, path in told}
    assert asked - known == set()
    assert len(asked) == 10


# The programs


def blocks(language: str) -> list[str]:
    """The programs of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Case:
    """One message, and whether it is to be believed at ``now``."""

    name: str
    headers: dict[str, str]
    body: bytes
    right: bool
    now: int = 1_796_039_542
    secret: str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def cases() -> list[Case]:
    """The official vector, messages of ours, and all that is to be turned down."""
    now, secret = Case.now, Case.secret
    event_id, stranger = "01a22726-2950-7f6e-8a55-0f8f0c1a9d0b", signing.new_secret()
    body = blocks("json")[0].strip().replace("order-1017", "Чай № 1").encode()
    signed = signing.headers([secret], event_id, now, body)
    good = signed["webhook-signature"]

    def case(name: str, right: bool, sent: bytes = body, **changed: str) -> Case:
        headers = signed | {key.replace("_", "-"): value for key, value in changed.items()}
        return Case(name, headers, sent, right)

    def aged(name: str, right: bool, seconds: int) -> Case:
        return Case(name, signing.headers([secret], event_id, now - seconds, body), body, right)

    published = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    vector = b'{"test": 2432232314}'
    return [
        Case("the official vector", published, vector, True, now=1614265330),
        Case("the official vector, today", published, vector, False),
        Case("the official vector, altered", published, vector + b" ", False, now=1614265330),
        case("good", True),
        Case("rotated", signing.headers([stranger, secret], event_id, now, body), body, True),
        case("among others", True, webhook_signature=f"v2,{good[3:]} v1,AAAA {good} v1a,BBBB"),
        aged("a little old", True, 290),
        aged("a little early", True, -290),
        aged("stale", False, 600),
        aged("of the future", False, -600),
        Case("another secret", signing.headers([stranger], event_id, now, body), body, False),
        case("altered", False, body.replace(b"100.00", b"900.00")),
        case("parsed and written anew", False, json.dumps(json.loads(body)).encode()),
        case("another id", False, webhook_id=f"{event_id}0"),
        case("another time", False, webhook_timestamp=str(now + 1)),
        case("no time", False, webhook_timestamp=""),
        case("a time in words", False, webhook_timestamp="hello"),
        case("a time that is a program", False, webhook_timestamp="a[$(touch ran)]"),
        case("no id", False, webhook_id=""),
        case("no signature", False, webhook_signature=""),
        case("half a signature", False, webhook_signature=good[:8]),
        case("an empty signature", False, webhook_signature="v1,"),
        case("another version", False, webhook_signature=f"v2,{good[3:]}"),
        case("no version", False, webhook_signature=good[3:]),
        case("not ASCII", False, webhook_signature="v1,Я"),
    ]


def program(name: str) -> str:
    """Where a runtime is; without it the report of the tests says what was not executed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on PATH: its program in docs/webhooks.md was not executed")
    return path


def judged(command: list[str], folder: Path, **variables: str) -> list[bool]:
    """What the program in ``folder`` says of all cases, which it gets as JSON."""
    asked = [
        {
            "secret": each.secret,
            "headers": each.headers,
            "body": base64.b64encode(each.body).decode(),
            "now": each.now,
        }
        for each in cases()
    ]
    done = subprocess.run(
        command,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[bool] = json.loads(done.stdout)
    return answers


def in_python(folder: Path) -> list[bool]:
    """Judge by the Python of the page."""
    (folder / "verify.py").write_text(
        blocks("python")[0]
        + "\nimport json, sys\nprint(json.dumps([verify(each['secret'], each['headers'],"
        " base64.b64decode(each['body']), each['now']) for each in json.load(sys.stdin)]))\n",
        encoding="utf-8",
    )
    return judged([sys.executable, "-I", "-W", "error", "verify.py"], folder)


def in_node(folder: Path) -> list[bool]:
    """Judge by the JavaScript of the page."""
    (folder / "verify.js").write_text(
        blocks("js")[0] + "\nconst asked = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));"
        "\nconsole.log(JSON.stringify(asked.map((each) => verify(each.secret, each.headers,"
        " Buffer.from(each.body, 'base64'), each.now))));\n",
        encoding="utf-8",
    )
    return judged([program("node"), "verify.js"], folder)


def in_php(folder: Path) -> list[bool]:
    """Judge by the PHP of the page."""
    (folder / "verify.php").write_text(
        "<?php\n"
        + blocks("php")[0]
        + "\necho json_encode(array_map(fn($each) => verify($each['secret'], $each['headers'],"
        " base64_decode($each['body']), $each['now']),"
        " json_decode(file_get_contents('php://stdin'), true)));\n",
        encoding="utf-8",
    )
    return judged([program("php"), "-n", "verify.php"], folder)


GO_MAIN = """package main

import (
	"encoding/json"
	"os"
	"time"

	"example.com/check/webhooks"
)

func main() {
	var asked []struct {
		Secret  string
		Headers map[string]string
		Body    []byte
		Now     int64
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	answers := []bool{}
	for _, each := range asked {
		id, timestamp := each.Headers["webhook-id"], each.Headers["webhook-timestamp"]
		signature, now := each.Headers["webhook-signature"], time.Unix(each.Now, 0)
		right := webhooks.Verify(each.Secret, id, timestamp, signature, each.Body, now)
		answers = append(answers, right)
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}
"""


def in_go(folder: Path) -> list[bool]:
    """Judge by the Go of the page."""
    (folder / "webhooks").mkdir()
    (folder / "webhooks" / "verify.go").write_text(blocks("go")[0], encoding="utf-8")
    (folder / "main.go").write_text(GO_MAIN, encoding="utf-8")
    (folder / "go.mod").write_text("module example.com/check\n\ngo 1.19\n", encoding="utf-8")
    offline = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    caches = {"GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path")}
    return judged([program("go"), "run", "."], folder, **offline, **caches)


def in_the_shell(folder: Path) -> list[bool]:
    """Judge by openssl, one message after another."""
    program("openssl")
    return [_by_openssl(folder, each) for each in cases()]


def _by_openssl(folder: Path, case: Case) -> bool:
    done = subprocess.run(
        ["bash", "-c", blocks("sh")[0]],
        input=case.body,
        capture_output=True,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "SECRET": case.secret,
            "ID": case.headers["webhook-id"],
            "TIMESTAMP": case.headers["webhook-timestamp"],
            "SIGNATURE": case.headers["webhook-signature"],
            "NOW": str(case.now),
        },
        check=False,
    )
    assert (done.returncode == 0) == (done.stdout == b"ok\n")
    return done.returncode == 0


@pytest.mark.timeout(600)  # Go compiles its own library first
@pytest.mark.parametrize("judge", [in_python, in_node, in_php, in_go, in_the_shell])
def test_each_program_believes_what_is_right_and_nothing_else(
    judge: Callable[[Path], list[bool]], tmp_path: Path
) -> None:
    answers = judge(tmp_path)
    wrong = [
        case.name for case, answer in zip(cases(), answers, strict=True) if answer is not case.right
    ]
    assert wrong == []
    assert not (tmp_path / "ran").exists()


def test_the_shell_sends_what_a_receiver_believes() -> None:
    program("openssl")
    program("curl")
    receiver = GoodReceiver(signing.new_secret())
    with serving(receiver) as url:
        done = subprocess.run(
            ["sh", "-c", blocks("sh")[1]],
            capture_output=True,
            env={"PATH": os.environ["PATH"], "URL": url, "SECRET": receiver.secret},
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert [body for _, body in receiver.accepted] == [b'{"type":"ping","test":true}']


# The receiver


@pytest.fixture
def example(tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """The receiver of the page, running: its URL, its secret and its module."""
    module, secret = tmp_path / "receiver.py", signing.new_secret()
    module.write_text("\n".join(blocks("python")), encoding="utf-8")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(module)],
        env={"WEBHOOK_SECRET": secret, "INBOX": str(tmp_path / "inbox"), "PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}/hook", secret, module
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens on ``port``."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_the_receiver_of_the_page_is_a_good_one(
    example: tuple[str, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, secret, module = example
    steps = check(url, secret)
    assert [(step.scenario, step.findings) for step in steps if step.findings] == []
    assert len(steps) == 9

    events = [
        {"id": thing, "sequence": sequence, "type": "x"}
        for thing, sequence in (("a", 2), ("a", 1), ("b", 1), ("a", 3), ("b", 1))
    ]
    bodies = [json.dumps(event).encode() for event in events]
    for number, body in enumerate([*bodies, bodies[0]]):
        message_id = f"event {number % len(bodies)}"
        headers = signing.headers([secret], message_id, clock.timestamp(), body)
        (attempt,) = send_all([Delivery(url=url, headers=headers, body=body)], LOOPBACK)
        assert attempt.outcome == "delivered"
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    monkeypatch.setenv("INBOX", str(module.parent / "inbox"))
    names = runpy.run_path(str(module))
    acted: list[dict[str, Any]] = []
    for _ in range(2):
        names["work"](acted.append)
    assert acted == [events[0], *events[2:]]


def check(url: str, secret: str) -> list[checkup.Step]:
    """What a check-up finds."""
    return list(
        checkup.check(url, [secret], LOOPBACK, new_id=clock.new_id, timestamp=clock.timestamp())
    )
