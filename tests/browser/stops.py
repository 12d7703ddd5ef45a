"""Pages of the panel that have no address of their own, reached as a person reaches them.

Each way yields a name whenever there is something to look at. It may be gone any number of
times, in any language, on the same scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from playwright.sync_api import Page
from sqlalchemy import text

from tests.browser.scene import Scene
from tests.builders import PASSWORD, TestUser, make_transaction
from tests.integration.factors import code_of, from_text

Way = Callable[[Page, Scene], Iterator[str]]

_numbers = count(1)


def log_in(page: Page, user: TestUser) -> None:
    """Show name and password of ``user``; with a second factor its code is asked for then."""
    page.goto("/login")
    page.fill("#name", user.name)
    page.fill("#password", PASSWORD)
    page.click("button.main")
    page.wait_for_load_state("load")


def _send(page: Page, **fields: str) -> None:
    """Fill in the form that the page is about, and send it."""
    for name, value in fields.items():
        page.fill(f"main [name={name}]", value)
    page.click("main form button.main")
    page.wait_for_load_state("load")


def _press(page: Page, selector: str) -> None:
    page.click(selector)
    page.wait_for_load_state("load")


def outside(page: Page, scene: Scene) -> Iterator[str]:
    """The login, before and after a mistake."""
    with scene.engine.begin() as connection:
        connection.execute(text("DELETE FROM login_failures"))
    page.goto("/login")
    yield "login"
    _send(page, name=scene.admin.name, password="not the password")
    yield "login-refused"


def lists(page: Page, scene: Scene) -> Iterator[str]:
    """Lists with filters in force, and those that nothing matches."""
    name = scene.busy.owner.name
    page.goto(f"/admin/transactions/?status=pending&user={name}&amount_from=100&amount_to=999999")
    yield "transactions-filtered"
    for section in ("transactions/", "payouts/", "refunds/", "refunds/adjustments", "webhooks/"):
        page.goto(f"/admin/{section}?user=nobody-of-this-name&created_from=2001-02-03")
        yield f"{section.strip('/').replace('/', '-')}-nothing"
    page.goto("/admin/users/?name=nobody-of-this-name")
    yield "users-nothing"
    page.goto("/admin/search/?q=nothing-is-called-this")
    yield "search-nothing"


def errors(page: Page, scene: Scene) -> Iterator[str]:
    """What is not there, and a form that is too old."""
    page.goto("/admin/no-such-page")
    yield "error-404"
    page.goto("/admin/")
    page.evaluate(
        "document.querySelectorAll('[name=csrf_token]').forEach((it) => { it.value = 'old'; })"
    )
    page.evaluate("document.querySelector('form[action$=logout]').submit()")
    page.wait_for_url("**/logout")
    yield "error-400"


def bulk(page: Page, scene: Scene) -> Iterator[str]:
    """Cancel many: the question, and what became of each."""
    reference = f"lot-{next(_numbers)}"
    for place in range(1, 4):
        make_transaction(
            scene.engine, scene.busy.owner, amount=f"{place}50.00", reference=f"{reference}/{place}"
        )
    page.goto(f"/admin/transactions/?reference={reference}")
    for box in page.locator("input[type=checkbox][name=id]").all():
        box.check()
    _press(page, "button[formaction*='bulk/cancel']")
    yield "transactions-bulk_ask"
    _press(page, "main form button.danger")
    yield "transactions-bulk"


def users(page: Page, scene: Scene) -> Iterator[str]:
    """A form that is refused, a new user, its key and its secret."""
    page.goto("/admin/users/new")
    _send(page, name="Coffee", commission_rate="3 %", currency="GOLD", password="short")
    yield "users-new-refused"
    page.goto("/admin/users/new")
    _send(page, name=f"Bakery {next(_numbers)}")
    yield "users-created"
    page.goto(f"/admin/users/{scene.busy.owner.id}")
    _press(page, "form.new-key button.main")
    yield "users-create_key"
    page.goto(f"/admin/users/{scene.busy.owner.id}")
    _press(page, "form[action$='/secret'] button")
    yield "users-show_secret"


def money(page: Page, scene: Scene) -> Iterator[str]:
    """The questions before money moves, and where a payout goes."""
    name = scene.busy.owner.name
    page.goto("/admin/payouts/new")
    _send(page, user=name, amount="10", destination="iban: DE89370400440532013000")
    yield "payouts-new-ask"
    page.goto(f"/admin/payouts/{scene.values['payout_id']}")
    _press(page, "form[action$='/destination'] button")
    yield "payouts-destination"
    page.goto(f"/admin/payouts/{scene.values['payout_id']}/ask/pay")
    yield "payouts-ask-refused"
    page.goto(f"/admin/refunds/new/{scene.busy.paid}")
    _send(page, amount="1")
    yield "refunds-new-ask"
    page.goto("/admin/refunds/adjustments/new")
    _send(page, user=name, amount="60000", reason="counted anew")
    yield "refunds-new_adjustment-ask"
    page.goto("/admin/reconciliation/runs/new")
    page.set_input_files(
        "#file",
        files=[{"name": "day.csv", "mimeType": "text/csv", "buffer": b"Order,Sum\na,1\n"}],
    )
    _send(page, map_amount="Amount", map_date="Day")
    yield "reconciliation-new_run-refused"


def webhooks(page: Page, scene: Scene) -> Iterator[str]:
    """A receiver that is checked, a test event, and a span that makes no sense."""
    address = f"/admin/webhooks/endpoints/{scene.values['endpoint_id']}"
    page.goto(address)
    _press(page, "form[action$='/check'] button")
    yield "webhooks-check"
    page.goto(address)
    _press(page, "form[action$='/ping'] button")
    yield "webhooks-ping"
    page.goto(address)
    _send(page, since="2026-11-02T00:00", until="2026-11-01T00:00")
    yield "webhooks-replay_span-refused"
    page.goto(address)
    _press(page, "form[action$='/secret'] button")
    yield "webhooks-endpoint_secret"


def proof(page: Page, scene: Scene) -> Iterator[str]:
    """Who works on after a while is asked for the password before what is dangerous."""
    with scene.engine.begin() as connection:
        connection.execute(
            text("UPDATE panel_sessions SET proven_at = proven_at - interval '1 day'")
        )
    page.goto("/admin/users/new")
    yield "profile-prove"
    _send(page, proof_password="not the password")
    yield "profile-prove-refused"
    _send(page, proof_password=PASSWORD)


def second_factor(page: Page, scene: Scene) -> Iterator[str]:
    """Another admin sets up a second factor, and logs in with it."""
    user = scene.busy.second
    with scene.engine.begin() as connection:
        for table in ("recovery_codes", "second_factors"):
            connection.execute(text(f"DELETE FROM {table} WHERE user_id = :id"), {"id": user.id})
    log_in(page, user)
    page.goto("/admin/profile/second-factor")
    _press(page, "main form button.main")
    yield "profile-second_factor-qr"
    _send(page, code="000000")
    yield "profile-second_factor-refused"
    secret = from_text(page.inner_text("code.secret"))
    _send(page, code=code_of(secret))
    yield "profile-recovery_codes"
    page.goto("/admin/profile/")
    yield "profile-with-second_factor"
    if page.locator(".open-menu").is_visible():  # where the window is narrow
        page.click(".open-menu")
    _press(page, "form[action$='/logout'] button")
    log_in(page, user)
    yield "login-code"
    _send(page, code="000000")
    yield "login-code-refused"


def merchant(page: Page, scene: Scene) -> Iterator[str]:
    """A merchant's own pages, and what is not for it."""
    log_in(page, scene.busy.owner)
    yield "merchant-dashboard"
    for section in ("transactions", "payouts", "refunds", "webhooks", "reconciliation"):
        page.goto(f"/admin/{section}/")
        yield f"merchant-{section}"
    page.goto(f"/admin/users/{scene.busy.owner.id}")
    yield "merchant-account"
    page.goto(f"/admin/transactions/{scene.busy.paid}")
    yield "merchant-transaction"
    page.goto("/admin/settings/")
    yield "error-403"


def newcomer(page: Page, scene: Scene) -> Iterator[str]:
    """A merchant that has nothing yet."""
    log_in(page, scene.newcomer)
    yield "newcomer-dashboard"
    for section in ("transactions", "payouts", "refunds", "refunds/adjustments", "webhooks"):
        page.goto(f"/admin/{section}{'' if '/' in section else '/'}")
        yield f"newcomer-{section.replace('/', '-')}"
    page.goto(f"/admin/users/{scene.newcomer.id}")
    yield "newcomer-account"


OF_ADMINS: tuple[Way, ...] = (lists, errors, bulk, users, money, webhooks, proof)
"""Gone by who is logged in as the scene's admin."""

OF_OTHERS: tuple[Way, ...] = (outside, second_factor, merchant, newcomer)
"""Gone in a window of their own, in which nobody is logged in."""
