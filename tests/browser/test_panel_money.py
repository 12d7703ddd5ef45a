"""An operator's afternoon: a payout, a refund, a closed month, a statement, a bank's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from standart.db import autocommit
from standart.encryption import Keyring
from standart.services import seal_service, transaction_service
from tests.browser.conftest import Visit
from tests.builders import ORIGIN, PASSWORD, TestUser, make_transaction, make_user

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "provider.csv"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_money_is_paid_out_given_back_and_proven(
    visit: Callable[..., Visit], engine: Engine, keyring: Keyring, admin: TestUser, script: bool
) -> None:
    shop = make_user(engine, keyring, name="shop", password=PASSWORD)
    paid = UUID(make_transaction(engine, shop, amount="200.00")["id"])
    with autocommit(engine) as connection:
        transaction_service.confirm(connection, admin.digest, ORIGIN, paid)
        seal_service.seal(connection)
    window = visit(locale="en-GB", script=script)
    page, main = window.page, window.page.locator("main")
    window.log_in(admin)

    page.goto("/admin/payouts/")
    page.click("text=New payout")
    page.fill("#user", "shop")
    page.fill("#amount", "50.00")
    page.fill("#destination", "iban: DE89370400440532013000")
    window.check()
    main.locator("button.main").click()
    expect(page.locator("h1")).to_have_text("Ask for a payout of 50.00 RUB to shop?")
    window.check()
    main.locator("button.main").click()
    expect(page.locator(".flash")).to_contain_text("The payout is asked for")
    expect(main).to_contain_text("****3000")
    main.get_by_text("Approve…").click()
    expect(page.locator("h1")).to_have_text("Approve the payout of 50.00 RUB to shop?")
    main.locator("button.main").click()
    expect(page.locator(".flash")).to_contain_text("The payout is approved.")
    window.check()
    main.get_by_text("Paid…").click()
    main.locator("button.main").click()
    expect(page.locator("h1 .status")).to_contain_text("Paid out")
    window.check()

    page.goto(f"/admin/transactions/{paid}")
    main.get_by_text("Refund…").click()
    page.fill("#amount", "20.00")
    page.check("#refund_commission")
    main.locator("button.main").click()
    expect(page.locator("h1")).to_have_text("Give back 20.00 RUB of the payment to shop?")
    window.check()
    main.locator("button.danger").click()
    expect(page.locator(".flash")).to_contain_text("The money is given back.")
    if script:
        page.go_back()
        expect(page.locator("h1")).to_have_text("Refund")
        expect(page.locator("#amount")).to_have_value("")

    page.goto("/admin/reconciliation/")
    page.fill("#period", "2025-03")
    main.locator("form button.main").click()
    expect(page.locator("h1")).to_have_text("Close 2025-03?")
    main.locator("button.main").click()
    expect(page.locator(".flash")).to_contain_text("2025-03 is closed.")
    window.check()

    page.goto("/admin/reconciliation/statement")
    page.fill("#user", "shop")
    page.select_option("#period", "month")
    page.select_option("#format", "csv")
    with page.expect_download() as got:
        main.locator("button.main").click()
    assert "settlement" in Path(got.value.path()).read_text()

    page.goto("/admin/reconciliation/runs/new")
    page.set_input_files("#file", SAMPLE)
    for name, column in {"reference": "Order", "amount": "Amount", "date": "Date"}.items():
        page.fill(f"#map_{name}", column)
    page.fill("#map_currency", "Currency")
    window.check()
    main.locator("button.main").click()
    expect(page.locator("h1")).to_contain_text("Reconciliation")
    expect(main).to_contain_text("provider.csv")
    window.check()
    main.locator(".tabs a").nth(2).click()
    expect(page.locator(".chips")).to_contain_text("Only in the file")
    window.check()
