"""The page in a real browser, offline: a click on a point shows its formula, and nothing goes wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_report_pretraining import training
from toy_runs import toy_run

from autobert_zero.report.page import render, write_report
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


RUNS = [
    toy_run(60),
    toy_run(40, seed=1, strategy="op-nas-paper", name="other-with-a-long-name-" * 3),
    Run("nothing"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(RUNS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainings")
    runs = [training(folder / "one"), training(folder / ("two-with-a-long-name-" * 3))]
    return write_report(runs, folder / "report.html")


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


CONTRAST = """() => {
  const rgb = (text) => { const p = text.match(/[\\d.]+/g).map(Number); return text.startsWith("color(srgb")
    ? [p[0] * 255, p[1] * 255, p[2] * 255, p[3] ?? 1] : [p[0], p[1], p[2], p[3] ?? 1]; };
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const ground = (node) => { const layers = [];
    for (; node; node = node.parentElement) layers.push(rgb(getComputedStyle(node).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]); };
  const wrong = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, parent = node.parentElement;
    if (!node.data.trim() || !parent.checkVisibility() || parent.closest("script, style, title")) continue;
    const style = getComputedStyle(parent), below = ground(parent);
    const [a, b] = [light(over(rgb(parent.closest("svg") ? style.fill : style.color), below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.push(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return wrong;
}"""


def test_contrast(page: Any) -> None:
    """WCAG 2 AA: text has 4.5 times the luminance of what it stands on, or the other way round."""
    assert page.evaluate(CONTRAST) == []


def test_paper_shows_what_the_screen_shows(page: Any) -> None:
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    cut = """() => [...document.querySelectorAll(".scroll, .steps")].filter((each) => each.checkVisibility()
      && each.scrollHeight > each.clientHeight + 1).length"""
    assert page.evaluate(cut) == 0
    picture = page.locator(".run:not([hidden]) .picture img").bounding_box()
    assert picture["width"] <= 680
    assert picture["height"] <= 235 / 25.4 * 96 + 1
    legend = page.locator(".ramp:visible").first
    assert legend.evaluate("each => getComputedStyle(each).printColorAdjust") == "exact"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_long_names_are_cut_at_the_edge(page: Any) -> None:
    outside = """() => [...document.querySelectorAll(".curve svg text")].filter((text) =>
      text.getBoundingClientRect().right > text.ownerSVGElement.getBoundingClientRect().right + 1).length"""
    assert page.evaluate(outside) == 0


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_page_of_pretrainings(browser: Any, trainings: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(trainings.as_uri())
    assert page.locator("#charts svg path").count() == 2 * 4
    page.locator("#charts svg").first.hover()
    assert "two-with-a-long-name" in page.locator("#charts .readout").first.inner_text()
    page.click(".picture >> nth=1")
    assert page.locator("dialog[open] img").count() == 1
    page.click("dialog[open] button")
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.evaluate(LONG)
    assert page.locator("#charts svg path").count() == 1
    assert complaints == []
    page.close()


LONG = """() => {
  const points = Array.from({length: 300000}, (_, step) => [step, 1 / (step + 2)]);
  const series = [{run: 0, label: "loss", dashed: false, points}];
  document.querySelector("#charts").replaceChildren(document.createElement("div"));
  drawFigures(document.querySelector("#charts div"), {name: "loss", series});
}"""
"""Draws the log of a long training."""


def test_figures_and_ticks_keep_their_digits(page: Any) -> None:
    figures = {
        5e-5: "0.00005",
        -5e-5: "−0.00005",
        0.00123: "0.0012",
        4.87e-7: "4.87e−7",
        0.5: "0.5000",
        0: "0",
        3: "3",
        123.456: "123.5",
        12345: "12.35 k",
        2.5e9: "2.500 G",
        None: "–",
    }
    shown = page.evaluate("(values) => values.map((value) => figure(value))", list(figures))
    assert shown == list(figures.values())
    assert page.evaluate(MARKS, 5e-5) == [f"0.0000{digit}" for digit in range(6)]
    assert page.evaluate(MARKS, 2e-7)[:3] == ["0", "5e−8", "1.0e−7"]


MARKS = """(high) => {
  const { at, digits } = ticks(0, high, 5);
  return at.map((each) => mark(each, digits));
}"""
"""The texts of the ticks from 0 to a number."""
