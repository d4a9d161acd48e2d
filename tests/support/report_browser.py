"""A headless Chromium for the report's tests, and pictures of a page by hand; nothing of it reaches a network.

By hand:  python tests/support/report_browser.py report.html FOLDER  writes FOLDER/WIDTH-THEME.png
"""

import base64
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--force-device-scale-factor=1")  # fmt: skip
WIDTHS = (360, 390, 1024, 1600)
CUT_OFF = """
return [...document.querySelectorAll('#lot-table *, .say, .words *')].filter((e) => e.clientWidth
  && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline' && !e.closest('.unseen, svg')
  && getComputedStyle(e.closest('thead') ?? e).clipPath === 'none')
  .map((e) => e.outerHTML.slice(0, 200))
"""
"""Boxes of the lots, the statements and the model cards that are wider inside than outside."""


def missing():
    """The reason why there is no browser here; "" = there is one."""
    for name in ("chromium", "chromedriver"):
        if not shutil.which(name):
            return f"no {name} on the path; Debian's packages chromium and chromium-driver have it"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "the package selenium is missing"
    return ""


class Browser:
    """A browser of its own with an empty profile. flags: further ones of Chromium's."""

    def __init__(self, *flags):
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        self.profile = tempfile.mkdtemp(prefix="jaxqc-chromium-")
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*FLAGS, *flags, f"--user-data-dir={self.profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(60)

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def cdp(self, name, **values):
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def size(self, width, height=900):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme, media=""):
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.cdp("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, path, width=1200):
        """Opens a file; returns the seconds until the page had set itself up and was drawn."""
        self.size(width)
        self.logs()
        start = time.monotonic()
        self.driver.get(Path(path).resolve().as_uri())
        self.drawn()
        assert self.run("return 'ready' in document.body.dataset")
        return time.monotonic() - start

    def visit(self, address, width=1200):
        """Opens a page of a server, and waits until its programs are ready."""
        self.size(width)
        self.logs()
        self.driver.get(address)
        self.drawn()
        assert self.run("return 'ready' in document.body.dataset")

    def drawn(self, more=0):
        """Waits until the page was drawn, and so many milliseconds more."""
        code = "const [more, done] = arguments; requestAnimationFrame(() => setTimeout(done, more))"
        self.driver.execute_async_script(code, more)

    def logs(self):
        """News since the last call: the console's entries, and the addresses that were asked for."""
        console = [(entry["level"], entry["message"]) for entry in self.driver.get_log("browser")]
        asked, stopped = {}, set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            name, about = message["method"], message["params"]
            if name == "Network.requestWillBeSent":
                asked[about["requestId"]] = about["request"]["url"]
            elif name in ("Network.webSocketCreated", "Network.webTransportCreated"):
                asked[about["url"]] = about["url"]
            elif name == "Network.loadingFailed" and about.get("blockedReason") == "csp":
                stopped.add(about["requestId"])  # never sent, and the console tells of it
        return console, [
            url
            for key, url in asked.items()
            if key not in stopped and not url.startswith(("data:", "chrome:", "chrome-untrusted:"))
        ]

    def press(self, *keys):
        """Keys as a person presses them, one after the other, on whatever has the focus."""
        from selenium.webdriver import ActionChains, Keys

        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(getattr(Keys, key, key)).perform()

    def shot(self, path, whole=True):
        """A picture of the page, `whole` or what is in view."""
        width = self.run("return innerWidth")
        height = self.run("return innerHeight")
        if whole:
            for _ in range(2):  # what comes into view may make the page longer
                self.size(width, min(16000, self.run("return document.documentElement.scrollHeight")))
                self.driver.execute_async_script(
                    "const done = arguments[0]; requestAnimationFrame(() => setTimeout(done, 200))"
                )
        Path(path).write_bytes(base64.b64decode(self.cdp("Page.captureScreenshot", format="png")["data"]))
        self.size(width, height)


def main(page, folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    browser = Browser()
    try:
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                browser.prefer(scheme)
                browser.open(page, width)
                browser.shot(Path(folder) / f"{width}-{scheme}.png")
                browser.run("document.querySelector('.shot')?.click()")
                time.sleep(0.3)
                browser.shot(Path(folder) / f"{width}-{scheme}-viewer.png", whole=False)
    finally:
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
