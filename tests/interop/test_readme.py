"""The README's Ruby and its Python, side by side on one server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import jobd
from jobd.testing.tether import spawn
from tests.interop.sidekiq import missing
from tests.support.daemon import Daemon, environment

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(start: str) -> str:
    """The code block of the README that begins with *start*."""
    found = re.search(rf"^```\w+\n({re.escape(start)}.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no block that begins with {start!r}"
    return found[1]


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_python_pushes_to_ruby_and_ruby_back(
    idle_daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "invoice.rb").write_text(block('require "sidekiq"'))
    idle_daemon.write_app(block("import logging"), name="shop")
    idle_daemon.run("-q", "mail", require="shop")
    monkeypatch.setenv("JOBD_REDIS", idle_daemon.url)
    jobd.configure()
    exec(block("from jobd import Client"), {})
    said = tmp_path / "sidekiq.log"
    with said.open("wb") as output:
        sidekiq = spawn(
            [shutil.which("sidekiq") or "", "-r", "./invoice.rb", "-q", "ruby", "-t", "1"],
            output=output,
            directory=tmp_path,
            environment=environment({"REDIS_URL": idle_daemon.url}),
        )
    try:
        idle_daemon.wait_for_log("a mail to user 42", 30)
        assert "Ruby writes invoice 42" in said.read_text(errors="replace")
    finally:
        sidekiq.terminate()
        sidekiq.wait(15)
