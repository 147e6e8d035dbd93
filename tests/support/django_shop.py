"""The example project of Django, in a directory of its own, with its server and its daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jobd.testing.tether import spawn
from tests.support.daemon import environment, wait

EXAMPLE = Path(__file__).parents[2] / "examples/django_shop"

SERVE = {
    "wsgi": """
from werkzeug.serving import make_server
from shop.wsgi import application
server = make_server("127.0.0.1", 0, application, threaded=True)
print("port", server.server_port, flush=True)
server.serve_forever()
""",
    "asgi": """
import uvicorn
from shop.asgi import application
server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning", lifespan="off"))
startup = server.startup
async def said(sockets=None):
    await startup(sockets)
    print("port", server.servers[0].sockets[0].getsockname()[1], flush=True)
server.startup = said
server.run()
""",
}


class Shop:
    """A copy of the example.

    Args:
        directory: where the copy is put.
        url: the Redis server.
        variables: of the environment.
    """

    def __init__(self, directory: Path, url: str, variables: Mapping[str, str] | None = None):
        self.directory = directory
        self.variables = {"REDIS_URL": url, "PYTHONUNBUFFERED": "1", **(variables or {})}
        shutil.copytree(
            EXAMPLE,
            directory,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"),
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the directory of the project, to its end."""
        return subprocess.run(
            [sys.executable, "-W", "ignore", *arguments],
            cwd=self.directory,
            env=environment({**self.variables, **variables}),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        """What a command of ``manage.py`` says that succeeds."""
        done = self.run("manage.py", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def python(self, code: str) -> str:
        """What code prints that has the project set up."""
        done = self.run("-c", f"import django\ndjango.setup()\n{code}", **SETTINGS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @contextmanager
    def serving(self, kind: str) -> Iterator[str]:
        """Its web server, by ``wsgi`` or ``asgi``; the address."""
        output = self.directory / "web.txt"
        with output.open("wb") as file:
            process = spawn(
                [sys.executable, "-W", "ignore", "-c", SERVE[kind]],
                output=file,
                directory=self.directory,
                environment=environment({**self.variables, **SETTINGS}),
            )
        try:
            said = wait(
                lambda: re.search(r"^port (\d+)$", output.read_text(), re.M) or process.poll(),
                60,
                "it serves",
            )
            assert isinstance(said, re.Match), output.read_text()
            yield f"http://127.0.0.1:{said[1]}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


SETTINGS = {"DJANGO_SETTINGS_MODULE": "shop.settings"}
