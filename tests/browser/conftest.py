"""A real Chromium (Debian's) before a real whalefall with its Nginx. Every page must be quiet: no console error."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment

pytest.importorskip("playwright", reason="pip install -e '.[browser]'")
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PASSWORD = "correct horse battery"
# Where the screenshots go; the README's own are made by `SCREENSHOTS=docs/pictures make browser`.
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", "build/screenshots"))
APPLICATION = '''
import os
import time
from pathlib import Path

from flask import Flask
from whalefall import Scheduler, current_run
from whalefall.app import install

app = Flask(__name__)
scheduler = Scheduler(app)
GATE = Path(os.environ["GATE"])


@scheduler.task("cron", id="import_orders", name="Import orders", hour=4, minute=5, kwargs={"pages": 4})
def import_orders(pages: int = 4) -> None:
    """Fetches new orders from the shop and books them."""
    for page in range(1, pages + 1):
        current_run.progress(page / (pages + 1), f"page {page} of {pages}")
        print(f"page {page}: booked", flush=True)
    while not GATE.exists():  # the test opens it when it has seen enough
        current_run.progress(pages / (pages + 1), "waiting for the gate")
        current_run.raise_if_cancelled()
        time.sleep(0.05)


@scheduler.task("cron", id="nightly_report", name="Nightly report", hour=2, minute=30, day_of_week="mon-fri")
def nightly_report() -> None:
    """Mails yesterday's figures to the team."""


@scheduler.task("interval", id="sync_stock", name="Sync stock", seconds=2)
def sync_stock() -> None:
    """Compares the warehouse with the shop."""
    if int(time.time()) % 10 < 2:
        raise ConnectionError("warehouse.example: connection refused")


install(app)
'''


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("site")
    (directory / "shop.py").write_text(APPLICATION)
    site = Deployment(directory, "shop:app", WHALEFALL_ADMIN_PASSWORD=PASSWORD, GATE=str(directory / "gate"))
    with site.start():
        yield site.until_ready()


@pytest.fixture
def gate(site: Deployment) -> Iterator[Path]:
    """Closed: a run of import_orders waits until the test touches it."""
    path = site.directory / "gate"
    path.unlink(missing_ok=True)
    yield path
    path.touch()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("no chromium here; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield browser
        browser.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(site: Deployment, chromium: Browser) -> Iterator[OpenPage]:
    """Opens a window with the wished width, colours, language; fails the test for any error in its console."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def build(*, may_complain: str = "", **options: object) -> Page:
        context = chromium.new_context(**{"base_url": site.url("")} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type in ("error", "warning") and not (may_complain and may_complain in message.text)
                else None
            ),
        )
        return page

    yield build
    for context in contexts:
        context.close()
    assert errors == []


def log_in(page: Page) -> Page:
    page.goto("/login")
    page.get_by_label("User name").or_(page.get_by_label("用户名")).fill("admin")
    page.get_by_label("Password").or_(page.get_by_label("密码")).fill(PASSWORD)
    page.locator("main button").click()
    page.wait_for_url("**/dashboard")
    return page


@pytest.fixture
def admin(open_page: OpenPage) -> Page:
    return log_in(open_page())


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
