"""The drawing page as a user meets it: the real command in a real Chromium."""

import html
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

PICTURE = """
const r = document.querySelector('img.radiograph').getBoundingClientRect();
return [r.x, r.y, r.width, r.height];
"""
PATIENCE = 300


class Page:
    """The open page, by what a user does on it."""

    def __init__(self, driver, url):
        self.driver = driver
        # A page left unsaved asks whether to leave it.
        driver.get("about:blank")
        self.log()  # forgets what earlier pages have logged
        self.size(1280, 720)
        driver.get(url)

    def size(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def find(self, css):
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def click(self, css):
        self.until(lambda: self.find(css) and self.find(css)[0].is_displayed(), css)
        self.find(css)[0].click()

    def until(self, condition, words):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{words}: {self.text()}"
            time.sleep(0.05)

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def log(self):
        return self.driver.get_log("browser")

    def box(self):
        """Where the radiograph is on the screen, once it has settled."""
        self.until(lambda: self.find("img.radiograph"), "no radiograph")
        return self.driver.execute_script(PICTURE)

    def screen(self, points):
        """Whole screen pixels of points given as shares of the picture."""
        x, y, width, height = self.box()
        return [(round(x + u * width), round(y + v * height)) for u, v in points]

    def pixels(self, points, shape):
        """Coordinates in the picture of whole screen pixels."""
        x, y, width, height = self.box()
        return [((u - x) / width * shape[1], (v - y) / height * shape[0]) for u, v in points]

    def mouse(self, *steps):
        """`("move" | "down" | "up" | "right", (x, y))` in this order."""
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.driver, duration=10)
        pointer = chain.w3c_actions.pointer_action
        for kind, (x, y) in steps:
            pointer.move_to_location(x, y)
            if kind == "down":
                pointer.pointer_down()
            elif kind == "up":
                pointer.pointer_up()
            elif kind == "click":
                pointer.click()
            elif kind == "right":
                pointer.context_click()
        chain.perform()

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.driver)
        *held, last = keys
        for key in held:
            chain.key_down(key)
        chain.send_keys(last)
        for key in held:
            chain.key_up(key)
        chain.perform()

    def vertices(self):
        return [e for e in self.find(".marker-icon[tabindex='0']") if e.is_displayed()]

    def middle(self, element):
        r = element.rect
        return round(r["x"] + r["width"] / 2), round(r["y"] + r["height"] / 2)

    def contours(self):
        return len(self.find("path.contour"))

    def draw(self, structure, points):
        """Draw by single clicks around; returns the screen pixels."""
        self.click(f"[data-name={structure}]")
        self.click("#points")
        at = self.screen(points)
        for point in [*at, at[0]]:
            self.mouse(("click", point))
        self.until(lambda: self.vertices(), "not closed")
        return at


def read_address(process):
    """The address with its token, from the file that the command names; '' where the command ended."""
    for line in process.stdout:
        if match := re.search(r"file:///\S+(?=,)", line):
            entry_page = Path(unquote(urlsplit(match[0]).path))
            assert entry_page.stat().st_mode & 0o777 == 0o600
            assert entry_page.parent.stat().st_mode & 0o777 == 0o700
            return html.unescape(re.search(r'href="([^"]+)"', entry_page.read_text())[1])
        assert "token=" not in line
    return ""


def command(tmp_path, *more):
    """Start `medprior annotate --page` without a browser."""
    line = [
        sys.executable, "-m", "medprior", "annotate", str(tmp_path / "out"), "--page",
        "--no-tracking", "--no-browser", *more,
    ]  # fmt: skip
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
