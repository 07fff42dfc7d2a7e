"""What a person does, in a real browser through the real Nginx."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest

from tests.browser.conftest import PASSWORD, OpenPage, log_in, picture
from tests.support.deployment import Deployment
from tests.support.waiting import wait_until

pytest.importorskip("playwright", reason="pip install -e '.[browser]'")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

# A letter as a picture; without a font that has it, all letters are the same box.
DRAWN = """letter => {
    const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
    pen.font = '40px sans-serif';
    pen.fillText(letter, 5, 45);
    return canvas.toDataURL();
}"""


def test_a_run_is_started_with_arguments_and_watched_to_its_end(admin: Page, gate: Path) -> None:
    admin.goto("/scheduler")
    admin.get_by_role("link", name="Run import_orders").click()
    dialog = admin.get_by_role("dialog")
    dialog.get_by_label("Arguments as JSON").fill('{"pages": 7}')
    dialog.get_by_label("Reason").fill("the shop was down")
    dialog.get_by_role("button", name="Run now").click()
    admin.wait_for_url("**/runs/*")
    expect(admin.locator("#output")).to_contain_text("page 7: booked")
    expect(admin.locator("progress")).to_have_attribute("value", "0.875")
    expect(admin.locator("h1")).to_contain_text("running")
    picture(admin, "run")
    gate.touch()
    expect(admin.locator("h1")).to_contain_text("succeeded", timeout=15_000)
    expect(admin.get_by_text("admin asked for it: the shop was down")).to_be_visible()


def test_wrong_arguments_are_explained_in_the_dialog(admin: Page, open_page: OpenPage) -> None:
    page = log_in(open_page(may_complain="status of 400"))
    page.goto("/scheduler")
    page.get_by_role("link", name="Run import_orders").click()
    page.get_by_label("Arguments as JSON").fill('{"pagse": 7}')
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("alert")).to_contain_text("pagse")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_running_job_can_be_stopped(admin: Page, gate: Path) -> None:
    admin.goto("/scheduler/jobs/import_orders")
    admin.get_by_role("link", name="Run…").click()
    admin.get_by_role("button", name="Run now").click()
    admin.wait_for_url("**/runs/*")
    expect(admin.locator("h1")).to_contain_text("running")
    admin.goto("/scheduler")
    admin.on("dialog", lambda dialog: dialog.accept())
    admin.get_by_role("button", name="Stop this run of import_orders").click()
    expect(admin.get_by_text("The run was asked to stop.")).to_be_visible()
    expect(admin.get_by_role("heading", name="Running now")).to_be_hidden(timeout=20_000)


def test_pausing_with_an_end_shows_at_once_and_resuming_undoes_it(admin: Page) -> None:
    admin.goto("/scheduler")
    row = admin.locator("#j-nightly_report")
    row.get_by_role("link", name="Pause nightly_report").click()
    admin.get_by_label("For how long").select_option("60")
    admin.get_by_label("Reason").fill("figures are being checked")
    admin.get_by_role("button", name="Pause").click()
    expect(admin.get_by_text("'nightly_report' is paused.")).to_be_visible()
    expect(row).to_contain_text("figures are being checked")
    expect(row).to_contain_text(re.compile(r"until \d\d:\d\d:\d\d"))
    texts = row.locator("td.end").locator("a, button").all_inner_texts()
    assert [text.strip() for text in texts] == ["Run…", "Resume", "Edit…"]
    picture(admin, "scheduler")
    row.get_by_role("button", name="Resume nightly_report").click()
    expect(row.get_by_role("link", name="Pause nightly_report")).to_be_visible()


def test_an_edit_is_previewed_while_typing_and_can_be_undone(admin: Page) -> None:
    admin.goto("/scheduler")
    row = admin.locator("#j-nightly_report")
    row.get_by_role("link", name="Edit nightly_report").click()
    field = admin.get_by_label("Cron expression")
    expect(admin.locator("#preview .changed")).to_have_count(0)
    field.fill("15 6 * * *")
    expect(admin.locator("#preview .changed").first).to_contain_text("06:15:00")
    picture(admin, "edit")
    field.fill("15 66 * * *")
    expect(admin.locator("#preview .message.bad")).to_be_visible()
    field.fill("15 6 * * *")
    admin.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("edited")
    admin.goto("/scheduler/jobs/nightly_report")
    admin.on("dialog", lambda dialog: dialog.accept())
    admin.get_by_role("button", name="Reset to code").click()
    expect(admin.get_by_role("button", name="Reset to code")).to_be_hidden()


def test_the_declarations_can_be_read_again(admin: Page) -> None:
    admin.goto("/scheduler")
    admin.get_by_role("button", name="Read the declarations again").click()
    expect(admin.get_by_text("3 jobs were read again")).to_be_visible()


def test_the_pages_are_live_without_losing_what_one_types(admin: Page) -> None:
    admin.goto("/scheduler")
    admin.get_by_label("Filter the jobs").fill("half a wo")
    before = admin.locator("#j-sync_stock .dots").inner_html()
    expect(admin.locator("#j-sync_stock .dots")).not_to_have_js_property("innerHTML", before, timeout=15_000)
    expect(admin.get_by_label("Filter the jobs")).to_have_value("half a wo")
    expect(admin.get_by_label("Filter the jobs")).to_be_focused()


def test_what_one_has_unfolded_stays_unfolded(admin: Page, site: Deployment) -> None:
    psutil.Process(site.master("scheduler")).kill()
    admin.goto("/processes/scheduler.1")
    report = admin.locator("details").first
    report.locator("summary").click()
    before = admin.locator("strong").first.locator("..").inner_text()
    expect(admin.locator("strong").first.locator("..")).not_to_have_text(before, timeout=15_000)  # it was refreshed
    expect(report).to_have_attribute("open", "")
    site.until_ready()


def test_a_dead_scheduler_is_seen_and_its_return_too(admin: Page, site: Deployment) -> None:
    admin.goto("/scheduler")
    expect(admin.get_by_text("Ticking")).to_be_visible()
    site.whalefall("stop", "scheduler")
    try:
        expect(admin.get_by_text("In trouble")).to_be_visible(timeout=30_000)
        expect(admin.get_by_text("no scheduler leads since")).to_be_visible()
    finally:
        site.whalefall("start", "scheduler")
    expect(admin.get_by_text("Ticking")).to_be_visible(timeout=60_000)


def test_a_killed_scheduler_is_back_and_the_dashboard_tells_how_it_died(admin: Page, site: Deployment) -> None:
    admin.goto("/dashboard")
    row = admin.locator("#p-scheduler\\.1")
    expect(row).to_contain_text("ready")
    before = site.master("scheduler")
    psutil.Process(before).kill()
    expect(row).not_to_contain_text(f"pid {before}", timeout=30_000)  # without a reload of the page
    expect(row).to_contain_text("SIGKILL")
    expect(row).to_contain_text("ready", timeout=60_000)
    expect(admin.get_by_text("was killed by signal 9").first).to_be_visible()
    row.get_by_role("link", name="scheduler.1").click()
    admin.locator("details summary").first.click()
    expect(admin.locator("details").first).to_contain_text("gunicorn")


def test_a_pause_can_end_at_a_moment_that_one_types(open_page: OpenPage) -> None:
    page = log_in(open_page(timezone_id="Asia/Shanghai"))
    page.goto("/scheduler/jobs/nightly_report")
    page.get_by_role("link", name="Pause…").click()
    until = datetime.now(ZoneInfo("Asia/Shanghai")).replace(second=0, microsecond=0) + timedelta(hours=3)
    page.get_by_label("Or until").fill(until.strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("'nightly_report' is paused.")).to_be_visible()
    end = page.locator(".message.skip time")
    assert datetime.fromisoformat(end.get_attribute("datetime")) == until
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("'nightly_report' fires again.")).to_be_visible()


def test_after_the_logout_the_way_back_shows_nothing(admin: Page) -> None:
    admin.goto("/users")
    admin.get_by_role("button", name="Log out").click()
    expect(admin.get_by_text("You are logged out.")).to_be_visible()
    admin.go_back()
    expect(admin.get_by_role("heading", name="Add a user")).to_have_count(0)


def test_a_token_is_shown_once(admin: Page) -> None:
    admin.goto("/tokens")
    admin.get_by_label("What for").fill("deploy script")
    admin.get_by_role("button", name="Make it").click()
    expect(admin.locator("#secret code")).to_have_text(re.compile(r"whf_.{40}"))
    expect(admin.get_by_role("rowheader", name="deploy script")).to_be_visible()
    secret = admin.locator("#secret code").inner_text()
    admin.reload()
    expect(admin.get_by_text(secret)).to_have_count(0)


def test_users_and_tokens_are_made_changed_and_taken_back(admin: Page) -> None:
    admin.on("dialog", lambda dialog: dialog.accept())
    admin.goto("/users")
    admin.get_by_label("User name").fill("ishmael")
    admin.get_by_label("Password").fill("call me what you like")
    admin.get_by_role("button", name="Add").click()
    row = admin.get_by_role("row", name="ishmael")
    expect(row).to_contain_text("view")
    row.get_by_role("button", name="Make admin").click()
    expect(row.get_by_role("button", name="Make viewer")).to_be_visible()
    row.get_by_role("button", name="Disable").click()
    expect(row.get_by_role("button", name="Enable")).to_be_visible()
    admin.goto("/tokens")
    admin.get_by_label("What for").fill("a moment")
    admin.get_by_role("button", name="Make it").click()
    token = admin.get_by_role("row", name="a moment")
    token.get_by_role("button", name="Revoke").click()
    expect(token.get_by_role("button", name="Revoke")).to_be_hidden()
    admin.goto("/audit")
    for action in ("token.revoke", "token.make", "user.add"):
        expect(admin.get_by_role("cell", name=action, exact=True).first).to_be_visible()


def test_a_process_is_restarted_from_the_dashboard(admin: Page, site: Deployment) -> None:
    before = site.master("scheduler")
    admin.goto("/dashboard")
    admin.on("dialog", lambda dialog: dialog.accept())
    admin.get_by_role("button", name="Restart scheduler.1").click()
    expect(admin.get_by_text("scheduler.1 restarts.")).to_be_visible()
    row = admin.locator("#p-scheduler\\.1")
    expect(row).not_to_contain_text(f"pid {before}", timeout=60_000)
    expect(row).to_contain_text("ready", timeout=60_000)


def test_the_timeline_shows_what_fires_in_the_next_day(admin: Page) -> None:
    admin.goto("/scheduler/timeline")
    expect(admin.get_by_role("img", name="import_orders: 1 fire")).to_be_visible()
    expect(admin.get_by_role("img", name=re.compile("sync_stock: > "))).to_be_visible()


def test_without_javascript_everything_can_still_be_done(open_page: OpenPage) -> None:
    page = log_in(open_page(java_script_enabled=False))
    page.goto("/scheduler")
    page.get_by_role("link", name="Pause nightly_report").click()
    page.get_by_label("Reason").fill("by hand")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_url("**/scheduler/jobs/nightly_report")
    expect(page.get_by_text("'nightly_report' is paused.")).to_be_visible()
    expect(page.get_by_text("by hand").first).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("'nightly_report' fires again.")).to_be_visible()
    page.get_by_role("link", name="Edit…").click()
    page.get_by_label("Cron expression").fill("15 6 * * *")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview .changed").first).to_contain_text("06:15:00 UTC")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()


def test_a_keyboard_is_enough(admin: Page) -> None:
    admin.goto("/scheduler")
    admin.keyboard.press("Tab")
    expect(admin.get_by_role("link", name="Skip to the content")).to_be_focused()
    admin.keyboard.press("Enter")
    expect(admin.locator("main")).to_be_focused()
    admin.get_by_role("link", name="Pause nightly_report").focus()
    admin.keyboard.press("Enter")
    expect(admin.get_by_label("For how long")).to_be_focused()
    admin.keyboard.press("Escape")
    expect(admin.get_by_role("link", name="Pause nightly_report")).to_be_focused()


PATHS = ["/dashboard", "/scheduler", "/scheduler/timeline", "/scheduler/jobs/sync_stock", "/runs", "/users", "/tokens"]
PATHS += ["/audit", "/me", "/notices", "/processes/web.1", "/processes/scheduler.1", "/scheduler/jobs/import_orders"]
PATHS += [f"/scheduler/jobs/sync_stock/{panel}" for panel in ("edit", "run", "pause")]


WINDOWS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 375, "height": 750}, "has_touch": True},
    "chinese": {"locale": "zh-CN", "color_scheme": "dark"},
}


@pytest.mark.parametrize("window", WINDOWS)
def test_axe_finds_nothing(open_page: OpenPage, window: str) -> None:
    page = open_page(**WINDOWS[window])
    page.goto("/login")
    complaints = _complaints(page)
    log_in(page)
    for path in [*PATHS, _failed_run(page)]:
        page.goto(path)
        complaints += _complaints(page)
    page.goto("/scheduler")
    page.locator("#j-nightly_report a[data-dialog]").last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    complaints += _complaints(page)
    assert complaints == []


def _failed_run(page: Page) -> str:
    def find() -> list[dict[str, str]]:
        return page.request.get("/api/v1/scheduler/runs?state=failed&limit=1").json()["data"]  # type: ignore[no-any-return]  # JSON

    return f"/runs/{wait_until(find, 'a run has failed', 30)[0]['run_id']}"


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_way_in_for_the_first_administrator(open_page: OpenPage, locale: str, tmp_path: Path) -> None:
    """A site of its own, with nobody in it: the link that the first start prints, its slip, its end; axe looks on."""
    site = Deployment(tmp_path)
    with site.start():
        link = re.findall(r"http://\S+/setup/\S+", site.until_ready().output())[0]
        page = open_page(locale=locale, may_complain="status of 40")
        page.goto(site.url("/login"))
        complaints = _complaints(page)
        page.goto(link)
        complaints += _complaints(page)
        page.locator("[name=password]").fill("a long enough password")
        page.locator("[name=repeat]").fill("another one")
        page.locator("main button").click()
        expect(page.get_by_role("alert")).to_have_text(
            "两次输入的密码不一致。" if "zh" in locale else "The two passwords differ."
        )
        page.locator("[name=password]").fill("a long enough password")
        page.locator("[name=repeat]").fill("a long enough password")
        page.locator("main button").click()
        page.wait_for_url("**/dashboard")
        expect(page.get_by_role("link", name="admin", exact=True)).to_be_visible()
        page.goto(link)
        expect(page.locator("h1")).to_have_text("此链接无效" if "zh" in locale else "This link does not work")
        page.goto(site.url("/nothing"))
        complaints += _complaints(page)
        page.goto(site.url("/audit"))
        expect(page.get_by_role("cell", name="setup", exact=True)).to_be_visible()
        assert complaints == []


def _complaints(page: Page) -> list[str]:
    return [
        f"{page.url}: {violation['id']}: {node['html'][:160]}"
        for violation in Axe().run(page).response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_is_wider_than_its_window(open_page: OpenPage, width: int) -> None:
    page = log_in(open_page(viewport={"width": width, "height": 800}))
    for path in [*PATHS, _failed_run(page)]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    if width == 360:
        page.goto("/scheduler")
        picture(page, "phone")


LONG = "x" * 200
LONG_WORDS = f'''
from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
scheduler = Scheduler(app)


@scheduler.task("interval", id="spill", hours=9, kwargs={{"beans": "{LONG}"}})
def spill(beans: str) -> None:
    """Spills {LONG}."""
    print(beans)
    raise RuntimeError(beans)


@scheduler.task("interval", id="{"y" * 150}", hours=9)
def rest() -> None:
    pass


install(app)
'''
# Its first life ends with a long word as its last line; the second one stays.
BREWER = f"sh -c 'test -e tried || {{ touch tried; echo {LONG} >&2; exit 3; }}; exec sleep 1000'"
OUTSIDE = """() => [...document.querySelectorAll("main *")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width > 1 && !one.closest(".hidden, thead") && box.right > innerWidth;
}).map(one => one.outerHTML.slice(0, 160))"""

# How far the last words of a cell begin below the end of its error.
BELOW = """why => {
    const reason = document.createRange();
    reason.selectNodeContents(why.lastChild);
    return reason.getBoundingClientRect().top - why.querySelector(".bad").getBoundingClientRect().bottom;
}"""

# How far a word in the place of the label ends above the value; with a curve of ours, the site's come with time.
BESIDE = """cell => {
    const bottom = text => {
        const range = document.createRange();
        range.selectNodeContents(text);
        return range.getBoundingClientRect().bottom;
    };
    const value = cell.querySelector(".sparked");
    value.querySelector("svg")?.remove();
    value.insertAdjacentHTML("afterbegin", '<svg class="spark" viewBox="0 0 100 30"></svg>');
    cell.insertAdjacentHTML("afterbegin", "<span>label</span>");
    return bottom(value.lastChild) - bottom(cell.firstChild.firstChild);
}"""


@pytest.fixture(scope="module")
def long_words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A site where what its people and its code say is one word of 200 letters."""
    directory = tmp_path_factory.mktemp("words")
    (directory / "words.py").write_text(LONG_WORDS)
    own = [f"{name}: python -m whalefall {name}" for name in ("nginx", "web", "scheduler")]
    (directory / "Procfile").write_text("\n".join([*own, f"brewer: {BREWER}", ""]))
    environ = {"WHALEFALL_APP": "words:app", "WHALEFALL_ADMIN_PASSWORD": PASSWORD}
    with Deployment(directory, **environ) as site:
        site.until_ready()
        for _ in range(2):
            assert site.whalefall("jobs", "run", "spill", "--reason", LONG, "--wait").returncode == 1
        assert site.whalefall("jobs", "pause", "y" * 150, "--reason", LONG).returncode == 0
        yield site


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_word_without_an_end_leaves_no_page(
    long_words: Deployment, open_page: OpenPage, width: int, locale: str
) -> None:
    window = {"viewport": {"width": width, "height": 800}, "locale": locale}
    page = open_page(base_url=long_words.url(""), may_complain="status of 401", **window)
    page.goto("/login")
    page.locator("[name=username]").fill(LONG[:64])
    page.locator("[name=password]").fill("wrong")
    page.locator("main button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    log_in(page)
    paths = ["/scheduler", "/dashboard", "/runs", "/scheduler/jobs/spill", f"/scheduler/jobs/{'y' * 150}"]
    wide = []
    for path in [*paths, _failed_run(page), "/processes/brewer.1", "/audit"]:
        page.goto(path)
        expect(page.locator("main")).to_contain_text(re.compile("x{60}|y{60}"))
        for report in page.locator("details summary").all():
            report.click()
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(f"{path} is {page.evaluate('document.documentElement.scrollWidth')} px wide")
        wide += [f"{path}: {one}" for one in page.evaluate(OUTSIDE)]
    assert not wide, "\n".join(wide)


def test_on_a_phone_a_value_with_a_curve_stands_on_the_line_of_its_label(open_page: OpenPage) -> None:
    page = log_in(open_page(viewport={"width": 390, "height": 800}))
    page.goto("/dashboard")
    assert abs(page.locator("td:has(.sparked)").first.evaluate(BESIDE)) < 1


@pytest.mark.parametrize("path", ["/runs", "/dashboard", "/scheduler/jobs/spill"])
def test_on_a_phone_the_reason_stands_below_a_long_error(
    long_words: Deployment, open_page: OpenPage, path: str
) -> None:
    page = log_in(open_page(base_url=long_words.url(""), viewport={"width": 390, "height": 800}))
    page.goto(path)
    why = page.locator("td.why:has(.bad)").first
    expect(why).to_contain_text("asked for it")
    assert why.evaluate(BELOW) >= 0


def test_on_a_phone_no_hour_leaves_the_timelines_card(open_page: OpenPage) -> None:
    page = log_in(open_page(viewport={"width": 390, "height": 800}))
    page.goto("/scheduler/timeline")
    card = page.locator(".card").first.bounding_box()
    hours = [box for each in page.locator(".hours time").all() if (box := each.bounding_box())]
    assert card
    assert len(hours) == 4
    assert all(card["x"] <= box["x"] and box["x"] + box["width"] <= card["x"] + card["width"] for box in hours)


def test_chinese_is_spoken_to_those_who_ask_for_it(open_page: OpenPage) -> None:
    page = log_in(open_page(locale="zh-CN"))
    expect(page.get_by_role("link", name="总览")).to_be_visible()
    page.goto("/scheduler")
    expect(page.get_by_role("heading", name="任务")).to_be_visible()
    assert page.evaluate(DRAWN, "任") != page.evaluate(DRAWN, "务"), "no Chinese font: .ci/system-packages chinese"
    picture(page, "scheduler-zh")


@pytest.mark.parametrize(
    ("locale", "now", "late"),
    [("en-GB", "due now", r"due 3 mins?\.? ago"), ("zh-CN", "现在应触发", "应于3分钟前触发")],
)
def test_a_job_that_is_due_was_not_next_a_second_ago(open_page: OpenPage, locale: str, now: str, late: str) -> None:
    page = open_page(locale=locale)
    page.goto("/login")
    page.evaluate("""() => {
        for (const [id, seconds] of [["now", -5], ["late", -180], ["next", 86400]]) {
            const time = Object.assign(document.createElement("time"), { id });
            time.dateTime = new Date(Date.now() + seconds * 1000).toISOString();
            Object.assign(time.dataset, { when: "due", zone: "" });
            document.querySelector("main").append(time);
        }
    }""")
    expect(page.locator("#now")).to_have_text(now)
    expect(page.locator("#late")).to_have_text(re.compile(f"^{late}$"))
    expect(page.locator("#next")).to_have_text(re.compile(r"^(1 (d|天) 0 (h|小时)|23:59:\d\d)$"))


def test_next_is_written_as_what_is_due(admin: Page) -> None:
    admin.goto("/scheduler")
    next_time = "td[data-label=Next] time"
    expect(admin.locator(f"#j-sync_stock {next_time}")).to_have_attribute("data-when", "due")
    expect(admin.locator(f"#j-sync_stock {next_time}")).to_have_text(re.compile(r"^(\d+ s|due now)$"))


def test_what_the_api_says_is_chinese_too(open_page: OpenPage) -> None:
    page = log_in(open_page(locale="zh-CN", may_complain="status of 400"))
    page.goto("/scheduler")
    row = page.locator("#j-nightly_report")
    row.locator("a[data-dialog]", has_text="编辑").click()
    page.locator("[name=cron_expression]").fill("15 66 * * *")
    expect(page.locator("#preview .message.bad")).to_contain_text("取值为 0 到 23")
    page.get_by_role("button", name="保存").click()
    expect(page.get_by_role("alert")).to_contain_text("取值为 0 到 23")
    page.keyboard.press("Escape")
    row.locator("a[data-dialog]", has_text="暂停").click()
    page.get_by_role("dialog").get_by_role("button", name="暂停").click()
    expect(page.get_by_text("“nightly_report”已暂停。")).to_be_visible()
    row.get_by_role("button", name="恢复").click()
    expect(page.get_by_text("“nightly_report”已恢复触发。")).to_be_visible()
    expect(page.locator("#j-sync_stock td[data-label=下次] time")).to_have_text(re.compile(r"^\d+ 秒$"))
    assert not re.search(r"\b(ago|sec|min)\b", page.locator("main").inner_text())


def test_the_dashboard_is_worth_a_picture(open_page: OpenPage) -> None:
    for colours in ("light", "dark"):
        page = log_in(open_page(color_scheme=colours))
        expect(page.get_by_text("All well")).to_be_visible()
        expect(page.get_by_role("row", name="scheduler.1")).to_contain_text("ready")
        picture(page, "dashboard" if colours == "light" else "dashboard-dark")
