"""The Planner in a real Chromium: keys, address, links, both themes."""

from __future__ import annotations

import pytest

from workbench.recipes import plan_run
from workbench.text import short_count

pytestmark = pytest.mark.browser


def test_keys_move_the_plan_and_the_address_restores_it(visit, quickstart_url):
    page = visit(quickstart_url, "plan")
    heading = page.page.locator(".verdict h2")
    assert "1.00B parameters, 20.0B tokens" in heading.inner_text()
    page.page.locator("input[type=range]").nth(1).focus()
    page.page.keyboard.press("ArrowRight")
    plan = plan_run(1e9, tpp=20.9, recipe="celerity")
    page.page.get_by_text(f"{short_count(plan.tokens_total)} tokens: τ").wait_for()
    assert page.numbers() == [
        f"{plan.peak_lr:.3g}",
        f"{plan.weight_decay:.3g}",
        short_count(plan.batch_size),
        f"{plan.total_steps:,}",
    ]
    page.page.wait_for_function("() => location.search.includes('horizon')")
    again = visit(quickstart_url, "plan" + page.page.evaluate("() => location.search"))
    assert again.page.locator(".verdict h2").inner_text() == heading.inner_text()
    page.assert_clean()


def test_links_lead_to_the_other_page_and_back(visit, quickstart_url):
    page = visit(quickstart_url)
    page.page.get_by_role("link", name="Planner").first.click()
    page.page.get_by_text("The whole recipe").wait_for()
    page.page.get_by_role("link", name="Explorer").first.click()
    page.page.locator("canvas").first.wait_for()
    page.page.get_by_text("Runs, worst residual first").wait_for()
    page.assert_clean()


def test_a_wrong_field_is_said_where_the_answer_stands(visit, quickstart_url):
    page = visit(quickstart_url, "plan")
    field = page.page.get_by_label("Batch, tokens")
    field.fill("many")
    field.press("Enter")
    page.page.get_by_text("These settings do not go together").wait_for()
    field.fill("1M")
    field.press("Enter")
    page.page.get_by_text("The whole recipe").wait_for()
    page.assert_clean()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pictures(visit, quickstart_url, width, theme):
    page = visit(quickstart_url, f"plan?theme={'dark' if theme == 'dark' else 'default'}",
                 width=width, height=1500)  # fmt: skip
    page.page.get_by_text("What its TPP costs").wait_for()
    assert page.overflow() <= 0
    page.keep(f"planner-{theme}-{width}")
    page.assert_clean()
