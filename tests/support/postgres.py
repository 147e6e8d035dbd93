"""A private PostgreSQL for tests, from Debian's package; without it they are skipped.

It listens on a socket only, in a directory of its own, and forgets everything at its end.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import processes
from tests.support.daemon import wait
from tests.support.others import NOBODY

if TYPE_CHECKING:
    import psycopg

USER = "jobd"
_SETTINGS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=50"]
_SETTINGS += ["max_prepared_transactions=10"]  # for two-phase commits
"""Those of a server whose data nobody needs tomorrow."""


class Postgres:
    """A running server; a context manager.

    Attributes:
        socket: the directory of its socket, which libpq and asyncpg take for the host.
    """

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        program = str(found[-1]) if found else shutil.which("postgres")
        if program is None:
            pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
        self._programs = Path(program).resolve().parent
        self._prefix: list[str] = []
        if (setpriv := shutil.which("setpriv")) is not None:
            self._prefix = [setpriv, "--pdeathsig", "INT"]
        if os.geteuid() == 0:  # as which it refuses to run
            if not self._prefix:
                pytest.skip("becoming another user needs setpriv")
            self._prefix += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self._numbers = itertools.count()

    def __enter__(self) -> Postgres:
        self._directory = tempfile.TemporaryDirectory(prefix="jobd-pg-")
        self.socket = Path(self._directory.name)
        if os.geteuid() == 0:
            os.chown(self.socket, NOBODY, NOBODY)
        data = self.socket / "data"
        done = subprocess.run(
            [
                *(*self._prefix, str(self._programs / "initdb")),
                *("-D", str(data), "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8"),
            ],
            cwd=self.socket,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._directory.cleanup()

    def restart(self) -> None:
        """What a maintenance of the database does to its clients."""
        self._stop()
        self._start()

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"test{next(self._numbers)}"
        with self._connected("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def url(self, driver: str, database: str | None = None) -> str:
        """The URL of a database for SQLAlchemy: of a new one, unless it is named.

        Args:
            driver: ``psycopg`` or ``asyncpg``.
        """
        name = self.database() if database is None else database
        return f"postgresql+{driver}://{USER}@/{name}?host={self.socket}"

    def _connected(self, database: str) -> psycopg.Connection:
        import psycopg  # only where it is needed: every test imports this module

        return psycopg.connect(host=str(self.socket), user=USER, dbname=database, autocommit=True)

    def _start(self) -> None:
        settings = [f"-c{each}" for each in ("listen_addresses=", *_SETTINGS)]
        places = ["-D", str(self.socket / "data"), "-k", str(self.socket)]
        with (self.socket / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, str(self._programs / "postgres"), *places, *settings],
                cwd=self.socket,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        processes.worlds.add(self._process.pid)
        wait(self._answers, 60, "PostgreSQL answers")

    def _answers(self) -> bool:
        import psycopg

        assert self._process.poll() is None, (self.socket / "log").read_text()
        try:
            self._connected("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # at once, whoever is connected
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            processes.worlds.discard(self._process.pid)
