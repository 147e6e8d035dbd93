"""What is shipped for platforms and shells works as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import environment, wait

ROOT = Path(__file__).parents[2]
COMMAND = '#!/bin/sh\nexec "{python}" -m {module} "$@"\n'


@pytest.fixture
def shell(tmp_path: Path, server: EmbeddedServer) -> dict[str, str]:
    """Variables of a shell that has jobd and jobctl, as after an installation."""
    for name in ("jobd", "jobctl"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(COMMAND.format(python=sys.executable, module=name))
        script.chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    return environment({"PATH": path, "JOBD_REDIS": server.url})


def lines() -> dict[str, str]:
    found = (ROOT / "etc/Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in found if not line.startswith("#"))


def test_each_line_of_the_procfile_starts(tmp_path: Path, shell: dict[str, str]) -> None:
    assert set(lines()) == {"worker", "web"}
    (tmp_path / "app.py").write_text("from jobd import job\n\n@job\ndef ok(): ...\n")
    running = []
    for name, line in lines().items():
        with (tmp_path / f"{name}.log").open("wb") as output:
            command = ["/bin/sh", "-c", f"exec {line}"]
            settings = {**shell, "JOBD_REQUIRE": "app", "PORT": "0"}
            running.append(spawn(command, output=output, directory=tmp_path, environment=settings))

    def said(name: str, text: str) -> bool:
        assert all(one.poll() is None for one in running), (tmp_path / f"{name}.log").read_text()
        return text in (tmp_path / f"{name}.log").read_text()

    wait(lambda: said("worker", "worker_ready"), 20, "the worker is ready")
    wait(lambda: said("web", "http://127.0.0.1:"), 20, "the dashboard listens")
    log = (tmp_path / "web.log").read_text()
    port = log.partition("http://127.0.0.1:")[2].split()[0].rstrip("/").split("/")[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{int(port)}/healthz", timeout=10) as answer:
        assert answer.status == 200
    for one in running:
        one.terminate()
    assert [one.wait(20) for one in running] == [0, 0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["jobctl", "re"], {"redis", "reload", "reopen-logs", "resume", "retire", "retries"}),
        (["jobctl", "reload", "--w"], {"--wait"}),
        (["jobd", "st"], {"start"}),
        (["jobd", "run", "--log-f"], {"--log-format"}),
    ],
)
def test_completion_as_documented(
    shell: dict[str, str], words: list[str], expected: set[str]
) -> None:
    """The script that bash evaluates calls the program again, with what has been typed."""
    variable = f"_{words[0].upper()}_COMPLETE"
    written = {
        "jobd": "_JOBD_COMPLETE=bash_source jobd",
        "jobctl": "jobctl completion bash",
    }[words[0]]
    source = subprocess.run(
        ["bash", "-c", written],
        env=shell,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert f"{variable}=bash_complete" in source
    typed = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [words[0]],
        env={**shell, **typed, variable: "bash_complete"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected
    page = (ROOT / "docs/deployment.md").read_text()
    assert f'eval "$({written})"' in page
