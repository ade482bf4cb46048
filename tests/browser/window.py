"""A window of a real browser with the web client in it, in the words of whoever uses it."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
IS_INSTALLED = CHROMIUM is not None and CHROMEDRIVER is not None
WHY_NOT = "there is no Chromium here: apt-get install chromium chromium-driver"

SCREENSHOTS = Path(__file__).parents[2] / ".local" / "screenshots"
SECONDS = 20.0
"""On a busy machine of two cores, the first sight of anything."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-GB",
)

type Scheme = Literal["light", "dark"]


@dataclass
class Window:
    driver: webdriver.Chrome

    # -- looking

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def texts(self, css: str) -> list[str]:
        """Of what is there now; an element that goes away meanwhile has none."""
        found: list[str] = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", css
        )
        return found

    @property
    def messages(self) -> list[str]:
        """The texts of the messages that are in the log, in their order."""
        return self.texts(".message[data-seq] .text")

    def eventually(
        self, met: Callable[[], object], what: str = "", seconds: float = SECONDS
    ) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if met():
                    return
            except StaleElementReferenceException:
                pass  # it was built anew meanwhile: look again
            assert time.monotonic() < deadline, f"{what or 'it'} did not come to pass: {self.page}"
            time.sleep(0.05)

    def shows(self, css: str, *texts: str) -> None:
        """Waits until the elements have these texts: what others did comes by the socket, later."""
        self.eventually(lambda: self.texts(css) == list(texts), f"{css}: {texts}")

    def shows_none(self, css: str) -> None:
        """Waits until there is no such element."""
        self.eventually(lambda: not self.all(css), f"no {css}")

    def find(self, css: str, seconds: float = SECONDS) -> WebElement:
        self.eventually(lambda: self.all(css), css, seconds)
        return self.all(css)[0]

    @property
    def page(self) -> str:
        return "\n".join(self.texts("body"))

    @property
    def complaints(self) -> list[str]:
        """What the browser's console holds against the page."""
        entries: list[dict[str, Any]] = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [str(each["message"]) for each in entries if each["level"] == "SEVERE"]

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    # -- acting

    def open(self, url: str) -> None:
        self.driver.get(url)

    def click(self, css: str, seconds: float = SECONDS) -> None:
        def clicked() -> bool:
            self.find(css, seconds).click()
            return True

        self.eventually(clicked, css)

    def press(self, label: str) -> None:
        """The button of that label."""
        self.click(f'button[aria-label="{label}"]')

    def sign_in_as(self, user: str) -> None:
        name = user.title()
        button = f"Continue as {name}"
        self.eventually(lambda: any(button in each for each in self.texts(".demo-user")), button)
        next(each for each in self.all(".demo-user") if each.text.endswith(button)).click()
        self.eventually(lambda: self.texts(".my-name"), "the name")

    def sign_in_with(self, token: str) -> None:
        if summary := self.all(".with-token summary"):
            summary[0].click()
        self.find("#token").send_keys(token)
        self.click(".form button[type=submit]")
        self.eventually(lambda: self.texts(".my-name"), "the name")

    def enter(self, channel_id: str) -> None:
        self.driver.execute_script("location.hash = `#/channels/${arguments[0]}`", channel_id)
        self.find(f'.channel[href$="{channel_id}"][aria-current="page"]')
        self.find(".composer textarea")
        self.eventually(lambda: not self.all(".skeleton"), "history")

    def write(self, text: str) -> None:
        field = self.find(".composer textarea")
        field.click()
        for number, line in enumerate(text.split("\n")):
            if number:
                field.send_keys(Keys.SHIFT, Keys.ENTER)
            field.send_keys(line)

    def say(self, text: str) -> None:
        self.write(text)
        self.find(".composer textarea").send_keys(Keys.ENTER)

    def sees(self, *texts: str, seconds: float = SECONDS) -> None:
        """Waits until the last messages are these."""
        expected = list(texts)
        self.eventually(lambda: self.messages[-len(expected) :] == expected, str(expected), seconds)

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: Scheme, *, reduced_motion: bool = False) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else ""},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def window(*, width: int = 1280, height: int = 860, proxy: str | None = None) -> Iterator[Window]:
    """A window of a browser of its own."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        if proxy is not None:
            options.add_argument(f"--proxy-server={proxy}")
            options.add_argument("--proxy-bypass-list=<-loopback>")
        driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
        try:
            opened = Window(driver)
            opened.resize(width, height)
            # A headless window never has the focus, and what is not looked at is not read.
            driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
            yield opened
        finally:
            driver.quit()
