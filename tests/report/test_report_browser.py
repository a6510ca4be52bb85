"""The page in a real browser, offline: a click on a point shows its formula, and nothing goes wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_runs import toy_run

from autobert_zero.report.page import render
from autobert_zero.report.runs import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


RUNS = [toy_run(60), toy_run(40, seed=1, name="other"), Run("nothing")]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(RUNS), encoding="utf-8")
    return path


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Any]:
    """The opened page; any complaint of the browser or request to elsewhere fails the test."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True, has_touch=width < 500
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert complaints == [file.as_uri()]


def test_a_click_shows_the_formula(page: Any) -> None:
    data = page.evaluate("DATA.runs[0]")
    axis, candidates = data["axes"][0], data["candidates"]
    trial = next(number for number in axis["front"] if number != data["winner"])
    assert f"Trial {data['winner']}, the winner" in page.inner_text(".run:not([hidden]) .panel")
    # The ring that marks a front point is drawn where the point is.
    circles = page.locator(".run:not([hidden]) .scatter svg[aria-hidden] circle")
    page.locator(".run:not([hidden]) .scatter").scroll_into_view_if_needed()
    box = circles.nth(axis["front"].index(trial)).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    panel = page.inner_text(".run:not([hidden]) .panel")
    assert f"Trial {trial}\n" in panel
    shown = page.locator(".run:not([hidden]) .panel li code").all_inner_texts()
    assert shown == [candidates["texts"][place] for place in candidates["layers"][trial]]
    assert shown == RUNS[0].trials[trial].proposal.backbone.to_list()
    page.wait_for_function("document.querySelector('.drawing img').naturalWidth > 0")


def test_keys_move_from_point_to_point(page: Any) -> None:
    page.focus(".run:not([hidden]) canvas[role=application]")
    best = page.evaluate("DATA.runs[0].winner")
    page.keyboard.press("ArrowDown")
    order = sorted(
        (score, -number)
        for number, score in enumerate(page.evaluate("DATA.runs[0].candidates.newest"))
        if score is not None
    )
    assert -order[-1][1] == best
    heading = page.inner_text(".run:not([hidden]) .panel h3")
    number = int(heading.split()[1].rstrip(","))
    assert page.evaluate(f"DATA.runs[0].candidates.newest[{number}]") in (order[-1][0], order[-2][0])
    assert number != best


def test_choosers_redraw(page: Any) -> None:
    page.select_option(".run:not([hidden]) .axis", index=1)
    assert "FLOPs" in page.inner_text(".run:not([hidden]) .scatter")
    page.select_option(".heat select", "plays")
    assert "candidates with it" in page.inner_text(".run:not([hidden]) .heat")
    page.select_option("#run", "1")
    assert page.locator(".run:not([hidden])").get_attribute("data-run") == "1"
    assert page.locator(".run:not([hidden]) .tree svg").count() == 1
    page.select_option("#run", "2")
    assert "No candidate has a score yet." in page.inner_text(".run:not([hidden]) .panel")


def test_a_picture_opens_and_closes(page: Any) -> None:
    page.click(".run:not([hidden]) .picture")
    assert page.locator("dialog[open] img").count() == 1
    page.click("dialog[open] button")
    page.wait_for_selector("dialog", state="detached")  # a browser tells of the closing a moment later


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
