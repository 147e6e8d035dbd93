"""How much memory workers have for themselves, with and without ``preload``.

``python -m benchmarks.preload [SECONDS]`` runs daemons of two workers one after the other, gives
each SECONDS (60) of constant small jobs with a full collection of garbage every second, and prints
the private memory of the second worker (``Private_Clean`` + ``Private_Dirty``): first without an
application worth the name, then with one that makes 100 MB of small objects at its import. For
comparison, the same is done with the collector let loose on these objects.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jobd import Client
from jobd.testing import EmbeddedServer

_APP = """
import gc
from jobd import job, on

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

MEGABYTES = {megabytes}
before, objects = memory(), []
while memory() - before < MEGABYTES * 2**20:
    objects.extend({{"id": str(number), "name": [number]}} for number in range(1000))

if not {freeze}:
    on("startup")(gc.unfreeze)

@job
def work(number):
    return [str(number)] * 100

@job
def collect():
    gc.collect()
"""
_WORKERS = 2
_BATCH = 2000

# Application in MB, preload, whether what the import has made stays frozen.
_CASES = (
    (0, False, True),
    (0, True, True),
    (100, False, True),
    (100, True, True),
    (100, True, False),
)


def private(pid: int) -> float:
    """Memory that only this process has, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = (line.split()[1] for line in text.splitlines() if line.startswith("Private_"))
    return sum(map(int, kilobytes)) / 1024


def measure(url: str, seconds: float, megabytes: int, *, preload: bool, freeze: bool) -> float:
    """Private memory of the second worker in MB, after *seconds* of jobs."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "app.py").write_text(_APP.format(megabytes=megabytes, freeze=freeze))
        command = [sys.executable, "-m", "jobd", "run", "-r", "app", "--redis", url]
        command += ["-w", str(_WORKERS), "--pidfile", "jobd.pid", "--logfile", "jobd.log"]
        command += ["--log-level", "warning", "--preload" if preload else "--no-preload"]
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        daemon = subprocess.Popen(command, cwd=directory, env={**os.environ, "PYTHONPATH": path})
        try:
            _await_running(directory / "jobd.state", daemon)
            client, until = Client(url), time.monotonic() + seconds
            while time.monotonic() < until:
                client.push_bulk({"class": "app.work", "args": [[n] for n in range(_BATCH)]})
                client.push_bulk({"class": "app.collect", "args": [[]] * 4 * _WORKERS})
                time.sleep(1)
            state = json.loads((directory / "jobd.state").read_text())
            return private(next(one["pid"] for one in state["workers"] if one["slot"] == 1))
        finally:
            daemon.terminate()
            daemon.wait()


def _await_running(state: Path, daemon: subprocess.Popen[bytes]) -> None:
    while not state.exists() or json.loads(state.read_text())["state"] != "running":
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended with {daemon.returncode}")
        time.sleep(0.1)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print("application  preload  frozen  private memory of the second worker")
    with EmbeddedServer() as server:
        for megabytes, preload, freeze in _CASES:
            found = measure(server.url, seconds, megabytes, preload=preload, freeze=freeze)
            frozen = "yes" if preload and freeze else "no"
            print(f"{megabytes:8} MB  {'yes' if preload else 'no':<7}  {frozen:<6}  {found:.1f} MB")


if __name__ == "__main__":
    main()
