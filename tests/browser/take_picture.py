"""Takes the picture in the README from the real page: `make picture`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.reader import TILES, Reader
from tests.browser.site import CHROMIUM, FLAGS, INSTALL, ROOT, serve

PICTURE = ROOT / "docs" / "flash_attention.png"


def main() -> None:
    if CHROMIUM is None:
        sys.exit(f"The picture needs Chromium; type: {INSTALL}")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder) / "server.log") as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1360, "height": 900}, device_scale_factor=1.5)
        reader = Reader(context.new_page(), site)
        reader.open("/flash_attention")
        reader.player(TILES).wait_for("lantern.drawTimes.length > 0")
        reader.page.wait_for_timeout(1500)  # the kernel's own trace comes back and is compared
        reader.settle()
        PICTURE.parent.mkdir(exist_ok=True)
        reader.page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE.relative_to(ROOT)}, {PICTURE.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
