"""An operator's day in one window, as it is lived: before a real server, worker and receiver."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Connection, Engine, text

from standart.config import Settings
from standart.encryption import Keyring
from standart.models import Role
from standart.serving import Options
from tests.acceptance.client import Client
from tests.acceptance.processes import Commands, commands, until
from tests.acceptance.receiver import Received, Receiver, receiver
from tests.browser.conftest import Visit
from tests.browser.steps import (
    all_pages,
    ask_to_cancel_all,
    confirm_one,
    enrol_and_log_in_again,
    export_and_compare,
    filter_list,
    log_out,
    press,
    rows_of,
)
from tests.browser.test_panel_access import look
from tests.builders import TestUser, make_transaction, make_user
from tests.ports import free_port

MANY = 200
TEN_SECONDS = 10_500


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Commands]:
    with commands(tmp_path) as starter:
        yield starter


@pytest.fixture
def address(started: Commands, settings: Settings, engine: Engine, tmp_path: Path) -> str:
    """The server and the worker as they run in life; webhooks may go to the loopback."""
    port = free_port()
    variables = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": settings.secret_key,
        "STANDART_ENCRYPTION_KEYS": settings.encryption_keys,
        "STANDART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "STANDART_WEBHOOK_ALLOW_HTTP": "yes",
        "STANDART_DATA_DIR": str(tmp_path),
    }
    options = json.dumps(asdict(Options("127.0.0.1", port, 1, "json", "INFO")))
    started.launch([sys.executable, "-P", "-m", "standart.serving", options], variables)
    started.start(["worker"], variables)
    until(lambda: _is_alive(port), "the server answers")
    return f"http://127.0.0.1:{port}"


def _is_alive(port: int) -> bool:
    try:
        return Client(port, "").get("/healthz").status == 200
    except OSError:
        return False


@dataclass
class Day:
    """The window that is worked in, the dashboard that stands open beside it, and who is there."""

    window: Visit
    board: Visit
    admin: TestUser
    hooks: Receiver
    engine: Engine
    connection: Connection
    port: int

    @property
    def page(self) -> Page:
        return self.window.page

    def api(self, key: str) -> Client:
        return Client(self.port, key)

    def renew_board(self) -> None:
        """Let ten seconds pass; nobody touches the dashboard."""
        page = self.board.page
        with page.expect_response(lambda answer: "/admin/live" in answer.url):
            page.clock.fast_forward(TEN_SECONDS)


@pytest.mark.timeout(400)
def test_a_day_of_an_operator(
    visit: Callable[..., Visit],
    address: str,
    engine: Engine,
    connection: Connection,
    admin: TestUser,
) -> None:
    window = visit(locale="en-GB", timezone_id="Europe/Moscow")
    enrol_and_log_in_again(window, admin)
    with receiver() as hooks:
        port = int(address.rsplit(":", 1)[1])
        board = window.tab()
        day = Day(window, board, admin, hooks, engine, connection, port)
        open_board(day)
        shop = create_a_shop(day)
        made = watch_what_comes_by_the_api(day, shop)
        find_and_confirm_one(day, shop, made)
        be_told_the_true_state(day, shop)
        cancel_many(day, shop)
        send_a_webhook_again(day, made)
        find_everything_by_one_box(day, shop, made)
        look(board)  # once the login has ended, it leads to the form by itself
        log_out(window)
    assert (window.trouble, board.trouble) == ([], [])


def open_board(day: Day) -> None:
    page = day.board.page
    page.clock.install()
    page.goto("/admin/")
    page.select_option("#refresh", "10")
    expect(page.locator("#live tbody tr.nothing")).to_have_count(1)
    look(day.board)


def create_a_shop(day: Day) -> TestUser:
    """Leave blank what can be made; see each secret once and never again."""
    page = day.page
    page.goto("/admin/users/")
    page.click(".actions .main")
    page.fill("#name", "Shop on the corner")
    page.fill("#commission_rate", "0.03")
    page.fill("#webhook_url", day.hooks.url)
    press(page)
    expect(page.locator("code.secret")).to_have_count(2)
    password, secret = page.locator("code.secret").all_inner_texts()
    assert (len(password) >= 20, secret.startswith("whsec_")) == (True, True)
    look(day.window)
    _is_gone(page, password, secret)

    page.goto("/admin/users/")
    page.get_by_role("link", name="Shop on the corner").click()
    page.check("form.new-key input[value=payout]")
    page.locator("form.new-key button.main").dblclick()
    expect(page.locator("code.secret")).to_have_count(1)
    (key,) = page.locator("code.secret").all_inner_texts()
    assert key.startswith("sk_live_")
    look(day.window)
    _is_gone(page, key)
    row = day.connection.execute(
        text("SELECT id, name FROM users WHERE name = 'Shop on the corner'")
    ).one()
    count = text("SELECT count(*) FROM api_keys WHERE user_id = :id")
    assert day.connection.scalar(count, {"id": row.id}) == 1
    day.hooks.secret = secret
    return TestUser(row.id, row.name, Role.REGULAR, key, secret)


def _is_gone(page: Page, *secrets: str) -> None:
    """Reload, go back and go forward: none of it shows a secret or makes another one."""
    for move in (page.reload, page.go_back, page.go_forward, page.reload):
        move()
        expect(page.locator("h1")).to_have_count(1)
        expect(page.locator("code.secret")).to_have_count(0)
        assert not any(each in page.content() for each in secrets)


def watch_what_comes_by_the_api(day: Day, shop: TestUser) -> list[str]:
    """The dashboard changes by itself, under the eyes of who is on it."""
    page = day.board.page
    rows = page.locator("#live tbody tr")
    client = day.api(shop.key)
    made = [client.create("250.00", reference="order-1")["id"]]
    day.renew_board()
    expect(rows.locator(f"a.id[title='{made[0]}']")).to_have_count(1)
    expect(page.locator("a.figure[href*='status=pending'] .value")).to_have_text("1")

    page.locator("#live tbody a.id").focus()
    page.mouse.wheel(0, 100)
    page.wait_for_function("scrollY > 0")
    before, updated = page.evaluate("scrollY"), page.locator("#updated").inner_text()
    made += [client.create(f"{n}00.00", reference=f"order-{n}")["id"] for n in range(2, 6)]
    day.renew_board()
    expect(rows).to_have_count(5)
    expect(page.locator("a.figure[href*='status=pending'] .value")).to_have_text("5")
    expect(page.locator("#updated")).not_to_have_text(updated)
    assert page.evaluate("scrollY") == before
    assert page.evaluate("document.activeElement.title") == made[0]
    look(day.board)
    return made


def find_and_confirm_one(day: Day, shop: TestUser, made: list[str]) -> None:
    """The filter is there after a row was opened, and after it was confirmed."""
    page = day.page
    filter_list(
        page, user=shop.name, status="pending", amount_from="200", amount_to="300", reference="ord"
    )
    chips = page.locator(".chips li a:not(.reset)")
    expect(chips).to_have_count(5)
    assert [row[0] for row in rows_of(page)] == [made[2], made[1], made[0]]
    look(day.window)
    address = page.url
    page.locator(f"a.id[title='{made[0]}']").click()
    expect(page.locator("h1")).to_contain_text("250.00")
    page.go_back()
    assert page.url == address
    expect(chips).to_have_count(5)

    confirm_one(day.window, made[0], "250.00 RUB", shop.name)
    for kind in ("events", "journals"):
        count = text(f"SELECT count(*) FROM {kind} WHERE transaction_id = :id")
        assert day.connection.scalar(count, {"id": made[0]}) == 1, kind
    page.locator(".crumbs a").click()
    expect(chips).to_have_count(5)
    assert [row[0] for row in rows_of(page)] == [made[2], made[1]]
    page.click(".chips .reset")
    expect(chips).to_have_count(0)
    assert [row[0] for row in rows_of(page)] == made[::-1]

    until(day.hooks.accepted, "the webhook of the confirm")
    (arrived,) = day.hooks.seen()
    assert (arrived.json["id"], arrived.json["status"]) == (made[0], "confirmed")
    assert arrived.complaint == ""
    day.renew_board()
    expect(day.board.page.locator("a.figure[href*='status=confirmed'] .value")).to_have_text("1")
    look(day.board)


def be_told_the_true_state(day: Day, shop: TestUser) -> None:
    """Somebody settles by the API what is open here."""
    page, client = day.page, day.api(shop.key)
    for seen in ("detail", "question"):
        made = client.create("77.00", reference=f"stale-{seen}")["id"]
        page.goto(f"/admin/transactions/{made}")
        if seen == "question":
            page.locator(".actions a.main").click()
            expect(page.locator("h1")).to_contain_text("77.00")
        assert client.post("/cancel_transaction", {"id": made}).status == 200
        page.locator(".actions .main").click()
        expect(page.locator(".flash")).to_contain_text("Not done.")
        expect(page.locator(".flash")).to_contain_text("ancel")
        expect(page.locator("h1 .status")).to_have_text("Canceled")
        expect(page.locator(".actions a.main")).to_have_count(0)
        look(day.window)


def cancel_many(day: Day, shop: TestUser) -> None:
    """See the sum, be told of each row, and get the same rows as files."""
    page = day.page
    made = {
        make_transaction(day.engine, shop, amount=f"{100 + n}.25", reference=f"bulk-{n:03}")["id"]
        for n in range(MANY)
    }
    total = sum(Decimal(100 + n) + Decimal("0.25") for n in range(MANY))
    filter_list(page, user=shop.name, status="pending", reference="bulk-")
    ask_to_cancel_all(page)
    expect(page.locator("h1")).to_have_text("Cancel these transactions?")
    expect(page.locator("main")).to_contain_text(f"{MANY} transactions can be changed.")
    expect(page.locator(".sums .value")).to_have_text(f"{total:,.2f}\u00a0RUB")
    expect(page.locator("tbody tr")).to_have_count(100)
    expect(page.locator("main")).to_contain_text(f"{MANY - 100} more like these")
    look(day.window)

    # One of them is confirmed meanwhile, and the button is pressed twice.
    paid = min(made)
    assert day.api(day.admin.key).post("/confirm_transaction", {"id": paid}).status == 200
    page.fill("#reason", "a wrong price")
    page.locator("main button.danger").dblclick()
    expect(page.locator("h1")).to_have_text("Result")
    expect(page.locator(".sums li")).to_have_text([f"Done: {MANY - 1}", "Not done: 1"])
    told = page.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [row.querySelector('a.id').title,"
        " row.querySelector('[data-label=Outcome]').innerText])"
    )
    assert {each for each, _ in told} == made
    assert {said for each, said in told if each != paid} == {"Done"}
    (said,) = (said for each, said in told if each == paid)
    assert re.match(r"Not done: .*[Cc]onfirmed", said)
    look(day.window)

    page.get_by_role("link", name="To the transactions").click()
    expect(page.locator(".chips li")).to_have_count(4)
    expect(page.locator("tbody tr.nothing")).to_have_count(1)
    states = text("SELECT status, count(*) FROM transactions WHERE reference ^@ 'bulk-' GROUP BY 1")
    counted = {row[0]: row[1] for row in day.connection.execute(states)}
    assert counted == {"canceled": MANY - 1, "confirmed": 1}
    filter_list(page, user=shop.name, status="canceled", reference="bulk-")
    listed = all_pages(page)
    assert {row[0] for row in listed} == made - {paid}
    export_and_compare(day.window, listed)
    until(lambda: len(day.hooks.accepted()) == MANY + 3, "the webhook of each")
    assert {each.complaint for each in day.hooks.seen()} == {""}


def send_a_webhook_again(day: Day, made: list[str]) -> None:
    """The receiver gets the same message once more, and the page shows both attempts."""
    page = day.page
    page.goto("/admin/webhooks/")
    page.fill("#transaction", made[0])
    page.locator("form.filters .fields button").click()
    page.locator("td[data-label='Event'] a").click()
    expect(page.locator(".try")).to_have_count(1)
    page.locator("h1 ~ .actions a.main").click()
    expect(page.locator("h1")).to_have_text("Send this event again?")
    look(day.window)
    page.locator("main button.main").dblclick()
    page.wait_for_url(re.compile("/admin/webhooks/[0-9a-f-]{36}$"))
    (first, *_) = day.hooks.seen()

    def tries() -> list[Received]:
        return [each for each in day.hooks.seen() if each.id == first.id and each.answered]

    until(lambda: len(tries()) == 2, "the second attempt")
    assert {(each.body, each.complaint) for each in tries()} == {(first.body, "")}
    _load_until(page, 2)
    page.locator(".try summary").first.click()
    expect(page.locator(".try").first).to_contain_text("Answer: HTTP 200")
    look(day.window)


def _load_until(page: Page, attempts: int) -> None:
    """Load the page again until what the worker writes down after the answer is there."""
    again = page.get_by_role("link", name="Load again")

    def shown() -> bool:
        again.click()
        return page.locator(".try").count() == attempts

    until(shown, "the page shows the attempt")


def find_everything_by_one_box(day: Day, shop: TestUser, made: list[str]) -> None:
    """Whatever its id belongs to is opened at once; words list what begins with them."""
    page = day.page
    asked = day.api(shop.key).post(
        "/create_payout", {"amount": "10.00", "destination": {"iban": "DE89370400440532013000"}}
    )
    assert asked.status == 201, asked
    event = day.connection.scalar(
        text("SELECT id FROM events WHERE transaction_id = :id"), {"id": made[0]}
    )
    for wanted, place in {
        made[0]: f"/admin/transactions/{made[0]}",
        "order-1": f"/admin/transactions/{made[0]}",
        str(shop.id): f"/admin/users/{shop.id}",
        "shop on": f"/admin/users/{shop.id}",
        asked.json["id"]: f"/admin/payouts/{asked.json['id']}",
        str(event): f"/admin/webhooks/{event}",
    }.items():
        page.keyboard.press("/")
        page.keyboard.type(wanted)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{place}")
        expect(page.locator("h1")).to_have_count(1)
    page.fill("input[data-search]", "bulk-")
    page.keyboard.press("Enter")
    expect(page.locator("main tbody tr")).to_have_count(10)
    page.locator("main p a").click()
    expect(page.locator(".chips li")).to_have_count(2)
    look(day.window)


@pytest.mark.timeout(400)
def test_the_day_goes_on_without_script(
    visit: Callable[..., Visit],
    address: str,
    engine: Engine,
    keyring: Keyring,
    connection: Connection,
    admin: TestUser,
) -> None:
    shop = make_user(engine, keyring, name="Shop on the corner")
    made = [
        make_transaction(engine, shop, amount=f"{100 + n}.25", reference=f"bulk-{n:03}")["id"]
        for n in range(60)
    ]
    other = make_transaction(engine, shop, amount="1250.00", reference="other")["id"]
    window = visit(locale="en-GB", script=False)
    page = window.page
    enrol_and_log_in_again(window, admin)

    page.goto("/admin/transactions/")
    page.get_by_role("button", name="Cancel the chosen…").click()
    expect(page.locator(".flash")).to_contain_text("Nothing is chosen.")
    filter_list(page, user=shop.name, status="pending", amount_from="1000")
    assert [row[0] for row in rows_of(page)] == [other]
    confirm_one(window, other, "1,250.00 RUB", shop.name)
    page.locator(".crumbs a").click()
    expect(page.locator(".chips li")).to_have_count(4)
    expect(page.locator("tbody tr.nothing")).to_have_count(1)

    filter_list(page, user=shop.name, status="pending", reference="bulk-")
    listed = all_pages(page)
    assert [row[0] for row in listed] == made[::-1]
    export_and_compare(window, listed)
    page.get_by_role("link", name="Back").click()
    for each in made[-2:]:
        page.check(f"input[name=id][value='{each}']")
    page.get_by_role("button", name="Cancel the chosen…").click()
    expect(page.locator("main")).to_contain_text("2 transactions can be changed.")
    page.get_by_role("link", name="Back, change nothing").click()
    expect(page.locator(".chips li")).to_have_count(4)
    ask_to_cancel_all(page)
    expect(page.locator("main")).to_contain_text("60 transactions can be changed.")
    look(window)
    press(page)
    expect(page.locator(".sums li")).to_have_text(["Done: 60"])
    look(window)
    states = text("SELECT status, count(*) FROM transactions GROUP BY 1")
    counted = {row[0]: row[1] for row in connection.execute(states)}
    assert counted == {"canceled": 60, "confirmed": 1}
    page.get_by_role("link", name="To the transactions").click()
    log_out(window)
    assert window.trouble == []
