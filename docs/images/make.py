"""
Draw the pictures of the README, and the one of the gallery's.

Needs what the group "browser" in pyproject.toml names, and Chromium on the PATH. Run it
after a change of the demo, of its page or of the gallery, on a machine that does
nothing else, as the demo shows how long it took:

    $ .venv/bin/python docs/images/make.py

demo-light.webp and demo-dark.webp are the page that the demo leaves;
../../examples/gallery/gallery.webp is the gallery with two pictures under way.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from apimodels_async.cli.commands.emulator import emulator_session, serving
from apimodels_async.cli.demo.command import run_orders
from apimodels_async.cli.demo.orders import demo_orders
from apimodels_async.cli.demo.page import write_page
from apimodels_async.cli.output import Output
from apimodels_async.emulator import Emulator

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples"
GALLERY = EXAMPLES / "gallery"
COUNT, SPEED = 48, 20.0
DESK = {"width": 1280, "height": 800}
BYTES_MAX = 150_000
PORT = 8017
PROMPTS = (
    *("a red fox in fresh snow", "a lighthouse under a comet"),
    *("two herons at first light", "a paper boat in heavy fog"),
    *("a moose in a field of poppies", "an old observatory, reflected in still water"),
)
SLOW = ("a night train, seen from above [slow]", "a glass city in the rain [slow]")


async def draw_demo(folder: Path) -> None:
    """Run the demo in *folder*."""
    emulator = Emulator(speed=SPEED)
    async with serving(emulator), emulator_session(emulator, SPEED) as session:
        orders, began = demo_orders(COUNT), time.monotonic()
        ended = await run_orders(session, orders, folder, Output())
        seconds = time.monotonic() - began
    index = folder / "index.html"
    await asyncio.to_thread(write_page, index, orders, ended, seconds)


def shoot(page: Page, file: Path) -> None:
    """Write what *page* shows as WebP, in fewer bytes than a README should weigh."""
    page.wait_for_load_state("networkidle")
    with Image.open(io.BytesIO(page.screenshot(animations="disabled"))) as picture:
        for quality in range(90, 30, -5):
            picture.save(file, "WEBP", quality=quality, method=6)
            if file.stat().st_size < BYTES_MAX:
                return


def shoot_demo(browser: Browser, folder: Path) -> None:
    """Write the demo's page, by day and by night."""
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=DESK, color_scheme=scheme)  # type: ignore[arg-type]
        page.goto((folder / "index.html").as_uri())
        shoot(page, HERE / f"demo-{scheme}.webp")
        page.close()


def shoot_gallery(browser: Browser, folder: Path) -> None:
    """Write the gallery, with pictures that have come and two that have not."""
    serving_it = subprocess.Popen(
        (sys.executable, GALLERY, "--emulator", "--port", str(PORT)),
        env={**os.environ, "GALLERY_DIR": str(folder / "gallery")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "Uvicorn running" not in (serving_it.stderr or io.StringIO()).readline():
            if serving_it.poll() is not None:
                sys.exit("the gallery did not start")
        page = browser.new_page(
            viewport={"width": 1280, "height": 1000}, color_scheme="light"
        )
        page.goto(f"http://127.0.0.1:{PORT}/")
        prompts = page.get_by_label("Prompts")
        prompts.fill("\n".join((*SLOW, *PROMPTS)))
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.locator(".card.completed img")).to_have_count(
            len(PROMPTS), timeout=60_000
        )
        prompts.fill("a clockwork owl\na tea house in heavy fog")
        prompts.blur()
        shoot(page, GALLERY / "gallery.webp")
        page.close()
    finally:
        serving_it.terminate()
        serving_it.wait()


def main() -> None:
    """Draw all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(draw_demo(folder / "demo"))
        with (
            sync_playwright() as playwright,
            playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu"],
                env={**os.environ, "HOME": name},
            ) as browser,
        ):
            shoot_demo(browser, folder / "demo")
            shoot_gallery(browser, folder)
    for file in (*sorted(HERE.glob("*.webp")), GALLERY / "gallery.webp"):
        print(f"{file.stat().st_size / 1000:6.1f} kB  {file}")


if __name__ == "__main__":
    main()
