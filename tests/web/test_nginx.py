"""The example for nginx in the manual, with a real nginx."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import wait
from tests.web.frame import PASSWORDS, users
from tests.web.serving import serving

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
MANUAL = Path(__file__).parents[2] / "docs/dashboard.md"

pytestmark = pytest.mark.skipif(not NGINX, reason="no nginx here: apt-get install nginx-light")

AROUND = """
daemon off; pid {directory}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


@contextmanager
def nginx(directory: Path, target: str, *, strips: bool) -> Iterator[str]:
    """An nginx with the manual's lines; the address of what it serves."""
    (location,) = re.findall(r"```nginx\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    upstream = target.rstrip("/").removesuffix("/jobs") + ("/" if strips else "")
    location = location.replace("http://127.0.0.1:7420", upstream)
    settings = directory / "nginx.conf"
    settings.write_text(AROUND.format(directory=directory, port=port, location=location))
    with (directory / "nginx.txt").open("wb") as output:
        command = [str(NGINX), "-c", str(settings), "-p", str(directory), "-e", "stderr"]
        process = spawn(command, output=output, directory=directory, environment={})

    def listens() -> bool:
        assert process.poll() is None, (directory / "nginx.txt").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait(listens, 10, "nginx listens")
        yield f"http://127.0.0.1:{port}/jobs"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("strips", [False, True], ids=["as it is", "path taken away"])
def test_the_example_of_the_manual(
    strips: bool, tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    settings = {"JOBD_REDIS": server.url, "JOBD_WEB_USERS": " ".join(users())}
    redis.sadd("queues", "mail")
    with (
        serving(tmp_path, "--path", "/jobs", settings=settings) as served,
        nginx(tmp_path, served.url, strips=strips) as address,
        httpx2.Client(timeout=20, follow_redirects=True) as browser,
    ):
        page = browser.get(f"{address}/queues")
        assert page.url.path == "/jobs/login"
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        name, password = next(iter(PASSWORDS.items()))
        fields |= {"name": name, "password": password}
        page = browser.post(page.url, data=fields, headers={"Origin": address[: -len("/jobs")]})
        assert (page.status_code, page.url.path) == (200, "/jobs/queues"), page.text
        assert "mail" in page.text
        style = re.search(r'href="(/jobs/static/app\.css[^"]*)"', page.text)
        assert style
        assert browser.get(page.url.join(style[1])).status_code == 200
        # Events come at once, not when a buffer is full.
        with browser.stream("GET", f"{address}/live") as stream:
            assert "processed" in next(line for line in stream.iter_lines() if "processed" in line)
