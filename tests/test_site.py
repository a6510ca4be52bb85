"""The documentation site: what is generated from the code, and every page in a browser."""

import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from filelock import FileLock

from autobert_zero.space import PRIMITIVES

ROOT = Path(__file__).parent.parent
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that build the site can be imported."""
    monkeypatch.syspath_prepend(ROOT / "tools")


def test_table_of_primitives_is_that_of_the_code() -> None:
    from primitives import primitives_table

    page = (ROOT / "docs" / "space.md").read_text(encoding="utf-8")
    assert f"<!-- primitives -->\n{primitives_table(pictures=False)}\n<!-- /primitives -->" in page


def test_pictures_show_what_differs() -> None:
    from primitives import picture

    drawn = {name: picture(each).split(">", 1)[1] for name, each in PRIMITIVES.items()}
    assert drawn["cosine"] == drawn["euclidean"], "both take (n, d), (n, d) to (n, n)"
    assert len(set(drawn.values())) == len(drawn) - 1


def test_every_unit_of_the_package_has_a_page() -> None:
    from build_docs import PACKAGE, api_page, api_units

    assert {
        "space",
        "nn",
        "compile",
        "zoo",
        "search",
        "training",
        "pretrain",
        "finetune",
        "hf",
        "export",
    } <= set(api_units())
    pages = "".join(map(api_page, api_units()))
    modules = [
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and path.parent.name != "cli"
    ]
    assert [name for name in modules if f"::: autobert_zero.{name}\n" not in pages] == []
    assert '"members": ["STRATEGIES", "check_strategy", "foreign_operations", "make_strategy"]' in pages


def test_links_out_of_docs_are_refused(tmp_path: Path) -> None:
    from build_docs import check_links

    page = tmp_path / "page.md"
    page.write_text("[code](../src/x.py)")
    with pytest.raises(SystemExit, match=r"page\.md links out of docs/: \.\./src/x\.py"):
        check_links(page)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built site."""
    if BROWSER is None:
        pytest.skip("no browser: install chromium")
    # All processes of pytest-xdist build into the same folder: one at a time, until its tests have ended.
    with FileLock(tmp_path_factory.getbasetemp().parent / "site.lock"):
        subprocess.run([sys.executable, ROOT / "tools" / "build_docs.py"], check=True, cwd=ROOT)

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None: ...

        with http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Quiet, directory=ROOT / "site")
        ) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_in_a_browser(site: str, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    """No error in the console, no request to elsewhere, nothing wider than the window."""
    from playwright.sync_api import ConsoleMessage, Request, sync_playwright

    pages = sorted(path.relative_to(ROOT / "site").as_posix() for path in (ROOT / "site").rglob("*.html"))
    assert len(pages) > 30
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, service_workers="block"
        )
        page = context.new_page()

        def on_message(message: ConsoleMessage) -> None:
            if message.type == "error":
                wrong.append(message.text)

        def on_request(request: Request) -> None:
            if not request.url.startswith(site):
                wrong.append(request.url)

        page.on("console", on_message)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", on_request)
        for name in pages:
            page.goto(site + name)
            wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if wider > 0:
                wrong.append(f"{name} is {wider} pixels too wide")
        browser.close()
    assert wrong == []


@pytest.mark.slow
def test_search_box_finds_a_page(site: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{site}index.html")
        page.keyboard.press("Control+k")
        page.keyboard.type("lightweight convolution")
        page.get_by_role("link", name="search space").first.wait_for(timeout=20_000)
        browser.close()
