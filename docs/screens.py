"""Takes the pictures of the dashboard in docs/screens/, each page in light and dark and as a phone shows it, and looks for what shuts people out.

    .venv/bin/python docs/screens.py [AXE]

Of a home of its own, screens_home.py. AXE is the file axe.min.js of the package axe-core: with it, every page is checked in both themes; status 1
if anything is found. Needs Debian's chromium and chromium-driver.
"""

import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

sys.path.insert(0, str(Path(__file__).parents[1]))
from daemon.embedded.generate import Generator
from daemon.learn.folders import EMBEDDED_FOLDER
from daemon.serving.engine_app import create_engine
from docs.screens_home import fill
from registry import Registry
from tests.serving_parts import serving
from tests.web_parts import gateway

PLACE = Path(__file__).parent / "screens"
PAGES = {
    "overview": "/ui/",
    "definitions": "/ui/definitions",
    "definition": "/ui/definitions/1",
    "topic": "/ui/topics/news",
    "adapter": "/ui/adapters/news@2",
    "difference": "/ui/diff?left=news@1&right=news@2",
    "feeds": "/ui/feeds",
    "playground": "/ui/playground",
    "audit": "/ui/audit",
}
WIDE, PHONE = (1280, 900), (390, 844)
TALLEST = 2400
KEY, BASE = "the-key-of-the-pictures", "lorefeed-embedded"
FIND = """
const done = arguments[arguments.length - 1];
axe.run().then(found => done(found.violations.map(v => `${v.impact} ${v.id}: ${v.nodes[0].html}`)));
"""


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(switch)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def take(driver: webdriver.Chrome, url: str, name: str, theme: str, axe: str | None) -> list[str]:
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
    driver.set_window_size(*WIDE)
    driver.get(url + PAGES[name])
    height = int(driver.execute_script("return document.documentElement.scrollHeight"))
    driver.set_window_size(WIDE[0], min(height + 140, TALLEST))
    time.sleep(0.3)  # a chart is drawn anew when the window has its size
    driver.save_screenshot(str(PLACE / f"{name}-{theme}.png"))
    if axe is None:
        return []
    driver.execute_script(axe)
    return [f"{name} in {theme}: {found}" for found in driver.execute_async_script(FIND)]


def main(axe_file: str | None = None) -> int:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "home", key=KEY)
        with (
            Generator(EMBEDDED_FOLDER) as generator,
            serving(create_engine(generator, served_name=BASE, root=BASE)) as engine,
            Registry.open(Path(folder) / "home") as registry,
            gateway(registry, engine_url=engine, base_name=BASE) as url,
        ):
            return take_all(url, KEY, axe_file)


def take_all(url: str, key: str, axe_file: str | None) -> int:
    PLACE.mkdir(exist_ok=True)
    axe = None if axe_file is None else Path(axe_file).read_text(encoding="utf-8")
    driver = browser()
    try:
        driver.get(f"{url}/ui/sign-in")
        driver.find_element(By.ID, "key").send_keys(key)
        driver.find_element(By.CSS_SELECTOR, "main button").click()
        found = [problem for name in PAGES for theme in ("light", "dark") for problem in take(driver, url, name, theme, axe)]
        driver.set_window_size(*PHONE)
        for name in PAGES:
            driver.get(url + PAGES[name])
            driver.save_screenshot(str(PLACE / f"{name}-phone.png"))
            if driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth"):
                found.append(f"{name} on a phone: wider than the screen")
    finally:
        driver.quit()
    for problem in found:
        sys.stderr.write(problem + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
