"""The dashboard in a real browser: what a person does with mouse and keyboard, and that nothing is fetched from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

selenium = pytest.importorskip("selenium", reason="selenium is not installed (pip install -e '.[dev]')")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from registry import Registry  # noqa: E402
from tests.service_parts import wait_until  # noqa: E402
from tests.web_parts import ADMIN_KEY, fill, gateway  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no chromium here (apt install chromium chromium-driver)"),
]
SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(tmp_path_factory.mktemp("browser") / "home") as one:
        fill(one)
        yield one


@pytest.fixture(scope="module")
def page(registry: Registry) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with gateway(registry) as url:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.set_window_size(1280, 900)
            yield Page(driver, url)
        finally:
            driver.quit()


class Page:
    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, path: str) -> Page:
        self.driver.get(self.url + path)
        return self

    def text(self) -> str:
        return str(self.run("document.body?.innerText ?? ''"))  # in one go: between finding and reading, the page may go

    def path(self) -> str:
        return str(self.driver.current_url).removeprefix(self.url).partition("?")[0]

    def click(self, name: str) -> None:
        """The button, by what a screen reader calls it."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "button")
        next(b for b in found if name in (b.get_attribute("aria-label"), b.text)).click()

    def run(self, script: str) -> object:
        return self.driver.execute_script(f"return {script}")

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_without_a_key_it_asks_for_one_and_goes_on_where_one_wanted_to_be(page: Page) -> None:
    page.open("/ui/topics/news")
    assert page.path() == "/ui/sign-in"

    page.driver.find_element(By.ID, "key").send_keys("wrong", Keys.ENTER)
    assert "opens nothing here" in page.text()
    page.open("/ui/topics/news").driver.find_element(By.ID, "key").send_keys(ADMIN_KEY, Keys.ENTER)
    wait_until(lambda: page.path() == "/ui/topics/news", what="the page that was wanted")
    page.complaints()  # the refusal was one


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/topics/news", "/ui/definitions/1", "/ui/adapters/news@2", "/ui/diff?left=news@1&right=news@2", "/ui/audit"]
)
def test_nothing_comes_from_elsewhere_and_the_browser_complains_of_nothing(page: Page, path: str) -> None:
    page.open(path)

    fetched = page.run("performance.getEntriesByType('resource').map(e => e.name)")
    assert isinstance(fetched, list)
    assert {str(one).startswith(page.url) for one in fetched} == {True}
    assert page.complaints() == []


def test_progress_moves_while_one_looks(page: Page, registry: Registry) -> None:
    page.open("/ui/")
    assert "42%" in page.text()
    page.run("window.marked = true")

    registry.write.progress(1, 0.77, "checking")

    wait_until(lambda: "77%" in page.text() and "checking" in page.text(), what="the new progress")
    assert page.run("window.marked") is True  # the page itself was not loaded anew


def test_a_chart_is_drawn_from_the_table_and_again_in_the_other_theme(page: Page) -> None:
    page.open("/ui/topics/news")
    names = [one.text for one in page.driver.find_elements(By.CSS_SELECTOR, ".u-legend .u-series th")]
    assert [name.rstrip(":") for name in names] == ["version", "learned", "kept", "local", "skills"]

    light = page.run("getComputedStyle(document.body).backgroundColor")
    for expected in ("light", "dark"):
        page.click(page.driver.find_element(By.ID, "theme").text)
        assert page.run("document.documentElement.dataset.theme") == expected
    assert page.run("getComputedStyle(document.body).backgroundColor") != light
    assert len(page.driver.find_elements(By.CSS_SELECTOR, ".chart canvas")) == 1
    page.open("/ui/feeds")
    assert page.run("document.documentElement.dataset.theme") == "dark"  # it is kept


def test_an_action_is_confirmed_and_done(page: Page, registry: Registry) -> None:
    page.open("/ui/")
    page.click("Roll back news")
    assert "news goes back from news@2" in page.text()
    page.driver.find_element(By.ID, "reason").send_keys("wrong about the lamp")
    page.click("Roll back")

    wait_until(lambda: "news serves news@1 again." in page.text(), what="the rollback")
    assert registry.read.alias("news").adapter == "news@1"
    newest = registry.read.releases("news")[0]
    assert (newest.actor, newest.reason) == ("operator alice", "wrong about the lamp")


def test_it_can_be_left_again(page: Page, registry: Registry) -> None:
    page.open("/ui/adapters/news@2")
    page.click("Promote news@2")
    page.driver.find_element(By.LINK_TEXT, "Leave it").click()

    assert page.path() == "/ui/adapters/news@2"
    assert registry.read.alias("news").adapter == "news@1"


def test_what_is_forgotten_is_said_first_and_then_gone(page: Page, registry: Registry) -> None:
    [velmora] = [d for d in registry.read.definitions() if d.entity == "Velmora"]
    page.open(f"/ui/definitions/{velmora.id}")
    page.click("Forget entity Velmora")
    wait_until(lambda: "This cannot be taken back." in page.text(), what="what would be forgotten")
    assert "1 definition is forgotten for good (Velmora)" in page.text()
    page.click("Forget")

    wait_until(lambda: "1 definition is forgotten" in page.text() and "for good" not in page.text(), what="that it is said")
    assert registry.read.definition(velmora.id).state == "forgotten"


def test_learning_is_paused_and_goes_on(page: Page, registry: Registry) -> None:
    for verb, said in (("Pause", "Learning is paused."), ("Resume", "Learning goes on.")):
        page.open("/ui/")
        page.click(f"{verb} learning of all topics")
        wait_until(lambda: "Reason" in page.text(), what="the question")
        page.click(f"{verb} learning")
        wait_until(lambda said=said: said in page.text(), what=said)
    assert [e.action for e in registry.read.events(2, about="learning")] == ["resumed", "paused"]


def test_the_keyboard_alone_approves_a_definition(page: Page, registry: Registry) -> None:
    page.open("/ui/definitions?state=review")
    focused = page.driver.switch_to
    for _ in range(60):
        focused.active_element.send_keys(Keys.TAB)
        if (focused.active_element.get_attribute("aria-label") or "").startswith("Approve"):
            break
    focused.active_element.send_keys(Keys.ENTER)
    wait_until(lambda: "will be learnt" in page.text(), what="the question")
    focused.active_element.send_keys(Keys.ENTER)  # the reason has the focus; Enter sends the form

    wait_until(lambda: "is waiting now" in page.text(), what="the approval")
    assert registry.read.definitions(state="review") == []


def test_the_first_tab_leads_past_the_navigation(page: Page) -> None:
    page.open("/ui/audit").driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)

    assert page.run("document.activeElement.id") == "main"


@pytest.mark.parametrize(
    "path",
    ["/ui/", "/ui/definitions", "/ui/definitions/1", "/ui/topics/news", "/ui/adapters/news@2", "/ui/feeds", "/ui/audit", "/ui/playground"],
)
def test_a_phone_scrolls_in_one_direction(page: Page, path: str) -> None:
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True})
    try:
        page.open(path)
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth") is True
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_form_of_another_site_is_refused(page: Page, registry: Registry) -> None:
    """A page elsewhere that has the visitor's browser send a form: the cookie does not go with it, and the token is not known."""
    before = registry.read.alias("news").adapter
    page.driver.get(
        "data:text/html,<form method=post action='"
        + page.url
        + "/ui/do'><input name=action value=rollback><input name=object value=news><input name=confirmed value=yes><button>Win</button></form>"
    )
    page.click("Win")

    wait_until(lambda: "not possible" in page.text(), what="the refusal")
    assert registry.read.alias("news").adapter == before
