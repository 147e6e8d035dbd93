"""Takes the pictures: a server, a shop's past, a daemon, a dashboard and a browser, all real.

    python -m tests.screenshots [NAME ...]

writes ``docs/images/NAME.png``; all of them when no name is given.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from jobd import Client
from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.screenshots import history, terminal
from tests.web.browser.conftest import CHROMIUM

IMAGES = Path(__file__).parents[2] / "docs" / "images"
_HERE = Path(__file__).parent
_QUEUES = ("critical", "mail", "search", "images", "reports")
_STEADY = (
    ("shop.capture_payment", "critical"),
    ("shop.send_receipt", "mail"),
    ("shop.reindex", "search"),
    ("shop.resize_image", "images"),
)


_LIVE_SECONDS = 125
"""What the chart of the overview shows."""

_SETTLED_SECONDS = 4
"""For numbers that come with the stream, and animations."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        path: the page, with what stands for a key there.
        live: its charts grow while it is looked at.
    """

    name: str
    path: str
    width: int = 1200
    height: int = 800
    dark: bool = False
    live: bool = False


PICTURES = (
    Picture("overview", "/", height=1290, live=True),
    Picture("overview-dark", "/", height=1290, live=True, dark=True),
    Picture("phone", "/", width=390, height=844, live=True, dark=True),
    Picture("busy", "/busy"),
    Picture("queues", "/queues", height=460, live=True),
    Picture("retries", "/retries"),
    Picture("groups", "/retries/groups", height=560),
    Picture("job", "/job?set=retry&key={retry}", height=1000),
    Picture("edit", "/job/edit?set=retry&key={retry}", height=760),
    Picture("metrics", "/classes", height=820),
    Picture("class", "/classes/one?name=shop.resize_image", height=900),
    Picture("stacks", "/busy/stacks?identity={process}", height=700),
    Picture("trash", "/trash", height=330),
    Picture("periodic", "/periodic", height=640),
    Picture("batches", "/batches", height=560),
    Picture("batch", "/batches/batch?id={batch}", height=760, live=True),
    Picture("workflow", "/workflows/workflow?id={workflow}", height=900, live=True),
)


def main(names: list[str]) -> int:
    if not CHROMIUM:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 1
    random.seed(7)
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(tcp=True))
        api = Api(server.url)
        history.write(api)
        stack.enter_context(_at_work(server.url))
        _orders(server.url)
        address = stack.enter_context(_dashboard(server.url))
        _people(api)
        exported = {
            one.name: terminal.export(server.url, one)
            for one in terminal.PICTURES
            if not names or one.name in names
        }
        browser = stack.enter_context(_chromium())
        for name, svg in exported.items():
            terminal.draw(browser, svg, IMAGES / f"{name}.png")
        chosen = [picture for picture in PICTURES if not names or picture.name in names]
        live = {each: _open(browser, address, api, each) for each in chosen if each.live}
        if live:
            next(iter(live.values())).wait_for_timeout(_LIVE_SECONDS * 1000)
        for picture in chosen:
            page = live.get(picture) or _open(browser, address, api, picture)
            file = IMAGES / f"{picture.name}.png"
            page.screenshot(path=file)
            page.close()
            print(f"{file} ({file.stat().st_size / 1000:.0f} kB)", flush=True)
    return 0


def _open(browser: Browser, address: str, api: Api, picture: Picture) -> Page:
    page = browser.new_page(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme="dark" if picture.dark else "light",
        device_scale_factor=1.5,
        locale="en-GB",
    )
    process = next(iter(api.processes))
    entry = next(
        one
        for one in api.retries.page(0, 100, highest_first=True)
        if one.retry_count and "Gateway" in one.error_class
    )
    batch = next(one for one in api.batches.newest() if one.description.startswith("Invoices"))
    workflow = api.workflows.newest()[0]
    page.goto(
        address
        + picture.path.format(
            retry=entry.key, process=process.identity, batch=batch.bid, workflow=workflow.id
        )
    )
    if "{process}" in picture.path:
        page.get_by_role("button", name="Ask again").click()
        page.locator("pre.trace").first.wait_for()
    page.locator("#pulse.on").wait_for()
    page.wait_for_timeout(_SETTLED_SECONDS * 1000)
    return page


def _orders(url: str) -> None:
    environment = {**os.environ, "JOBD_REDIS": url}
    subprocess.run([sys.executable, "shop.py"], cwd=_HERE, env=environment, check=True)


def _people(api: Api) -> None:
    """What was done by hand today."""
    ada, grace = api.acting_as("ada"), api.acting_as("grace")
    ada.queue("search").pause()
    ada.queue("search").unpause()
    grace.dead.delete(*grace.dead.page(3, 4).entries)
    ada.retries.kill(*ada.retries.page(100, 2).entries)
    grace.retries.retry(*grace.retries.page(5, 3).entries)


@contextmanager
def _at_work(url: str) -> Iterator[None]:
    """A daemon with two workers, and people who buy things."""
    ends = threading.Event()
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "jobd", "run", "--redis", url, "-r", "shop"]
        command += ["--directory", str(_HERE), "-w", "2", "-c", "4", "--tag", "shop"]
        command += ["--pidfile", f"{directory}/jobd.pid", "--logfile", f"{directory}/jobd.log"]
        command += [word for queue in _QUEUES for word in ("-q", queue)]
        shoppers = threading.Thread(target=_shop, args=(url, ends))
        with subprocess.Popen(command) as daemon:
            shoppers.start()
            try:
                yield
            finally:
                ends.set()
                shoppers.join()
                daemon.terminate()


def _shop(url: str, ends: threading.Event) -> None:
    client = Client(url)
    while not ends.wait(random.uniform(0.2, 0.8)):
        for _ in range(random.randint(1, 12)):
            name, queue = random.choices(_STEADY, (4, 5, 3, 1))[0]
            history.push(client, name, queue)


@contextmanager
def _dashboard(url: str) -> Iterator[str]:
    command = [sys.executable, "-m", "jobd", "web", "--redis", url, "--directory", str(_HERE)]
    command += ["-r", "shop", "-p", "0", "--title", "shop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2].rstrip("/")
        finally:
            process.terminate()


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
