"""Takes the pictures of the dashboard for the docs: ``make pictures``. It needs Debian's chromium and playwright."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from vaurien.cli import demo, live_demo
from vaurien.client.plain import at

FOLDER = Path(__file__).parent / "pictures"
SIZE = {"width": 1200, "height": 720}
SECONDS = 45
"""How long traffic goes on before a picture, so that the charts show some."""


def main() -> int:
    """Take them."""
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("docs.pictures: chromium is not installed; expected it from Debian's package")
    FOLDER.mkdir(exist_ok=True)
    with (
        demo.backend() as backend,
        live_demo.serve(0) as url,
        live_demo.traffic(live_demo.populate(at(url), backend)),
        sync_playwright() as playwright,
    ):
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(viewport=SIZE)
        page.goto(url)
        page.get_by_role("link", name="shop", exact=True).wait_for()
        page.wait_for_timeout(SECONDS * 500)
        at(url).add_fault("shop", behavior="delay", name="bursts", options={"sleep": 0.2}, probability=0.3, ttl=600)
        page.wait_for_timeout(SECONDS * 500)
        page.screenshot(path=FOLDER / "overview.png")
        page.goto(f"{url}/#/proxy/shop")
        page.get_by_role("figure").first.wait_for()
        page.wait_for_timeout(3000)
        page.screenshot(path=FOLDER / "proxy.png", full_page=True)
        page.goto(f"{url}/#/proxy/shop/fault/bursts")
        page.get_by_role("button", name="Save the fault").wait_for()
        page.screenshot(path=FOLDER / "fault.png", full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
