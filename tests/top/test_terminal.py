"""The real command in a real terminal: tmux."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import environment, wait
from tests.top.terminal import Terminal, top
from tests.top.test_pages import fill

APP = """
    import time
    from jobd import job

    @job(queue="mail", retry=0)
    def slow(number):
        while True:
            time.sleep(0.05)
"""


def test_a_day_at_eighty_columns(terminal: Terminal, server: EmbeddedServer, api: Api) -> None:
    fill(api, "dead", 3)
    top(terminal, server.url)
    terminal.shows(
        "jobctl top", "1Home 2Busy", "0Cron b w u a", "dead 3", "0 queued, 0 running", "Redis "
    )
    terminal.press("7")
    terminal.fills("Dead: 1 to 3 of 3", "KeyError: no user 2", "? Help", "q Quit")
    terminal.press("D")
    terminal.shows("Deleted jobs do not run. Delete Mail", "y yes")
    terminal.press("y")
    terminal.shows("Dead: 1 to 2 of 2")
    assert api.dead.size == 2
    terminal.press("q")
    left = terminal.shows("exit code 0")
    assert "Dead" not in left  # the screen of before is back


def test_stacks_on_demand_and_a_job_that_is_cancelled(
    terminal: Terminal, server: EmbeddedServer, daemon: StartDaemon, api: Api
) -> None:
    daemon(APP, "-q", "mail")
    jid = f"{1:024x}"
    raw = b'{"class":"app.slow","args":[1],"queue":"mail","retry":0,"jid":"%s"}' % jid.encode()
    api.redis.sadd("queues", "mail")
    api.redis.lpush("queue:mail", raw)
    wait(lambda: api.work.find_work(jid), 30, "it runs")
    top(terminal, server.url)
    terminal.shows("jobctl top", "done")
    terminal.press("2")
    terminal.shows("Busy: 1 running", "app.slow")
    terminal.press("t")
    terminal.shows("Stacks of ", "taken ", "app.py")
    terminal.press("Escape")
    terminal.shows("Busy: 1 running")
    terminal.press("X")
    terminal.shows("Cancel job app.slow")
    terminal.press("y")
    wait(lambda: api.work.find_work(jid) is None, 30, "it is cancelled")
    terminal.press("C-c")
    terminal.shows("exit code 0")


def test_the_size_may_change(terminal: Terminal, server: EmbeddedServer, api: Api) -> None:
    fill(api, "retry", 3)
    top(terminal, server.url, width=20, height=10)
    terminal.shows("< 1Home >")
    terminal.press("5")
    terminal.shows("< 5Retries >", "NEXT RUN")
    terminal.tmux("resize-window", "-x", "120", "-y", "30")
    terminal.shows("1Home", "0Cron", "KeyError: no user 0", "q Quit")


def test_no_colour_where_none_is_wanted(
    terminal: Terminal, server: EmbeddedServer, api: Api
) -> None:
    fill(api, "retry", 3)
    top(terminal, server.url, env={"NO_COLOR": "1"})
    terminal.shows("retries 3")
    terminal.press("5")
    terminal.shows("KeyError: no user 0")
    codes = re.findall(r"\x1b\[([\d;]*)m", terminal.tmux("capture-pane", "-p", "-e"))
    numbers = {int(one) for code in codes for one in code.split(";") if one}
    assert numbers <= {0, 1, 2, 4, 7, 39, 49}, numbers
    assert 7 in numbers  # by which the row of the cursor is seen


def test_redis_may_go_away_and_come_back(terminal: Terminal) -> None:
    with EmbeddedServer() as server:
        api = Api(server.url)
        fill(api, "retry", 3)
        top(terminal, server.url)
        terminal.shows("retries 3")
        terminal.press("5")
        terminal.shows("KeyError: no user 0")
        server.stop()
        terminal.shows("does not answer", "KeyError: no user 0")
        terminal.press("D")
        terminal.shows("y yes")
        terminal.press("y")
        terminal.shows("? Help")
        terminal.press("7")
        server.start()
        terminal.shows("jobctl top", "Dead: no jobs")
        terminal.press("q")
        terminal.shows("exit code 0")


@pytest.mark.parametrize(
    ("url", "text", "code"),
    [
        ("redis://127.0.0.1:1/0", "does not answer", 8),
        ("nonsense://", "", 2),
    ],
)
def test_a_redis_that_is_not_there_is_told_before_the_screen(
    url: str, text: str, code: int, terminal: Terminal
) -> None:
    top(terminal, url)
    seen = terminal.shows("jobctl: ", text, f"exit code {code}")
    assert "Traceback" not in seen


def test_a_wrong_password(
    terminal: Terminal, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    redis.config_set("requirepass", "right")
    try:
        url = server.tcp_url.replace("redis://", "redis://:wrong@")
        top(terminal, url)
        seen = terminal.shows("jobctl: ", "exit code 8", "check the user and the password")
        assert "wrong" not in seen
    finally:
        redis.config_set("requirepass", "")


def test_without_textual_one_sentence_says_what_to_install(
    terminal: Terminal, server: EmbeddedServer, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    hidden.joinpath("textual.py").write_text(
        "raise ModuleNotFoundError('No module named textual', name='textual')\n"
    )
    path = f"{hidden}{os.pathsep}{environment()['PYTHONPATH']}"
    top(terminal, server.url, env={"PYTHONPATH": path})
    seen = " ".join(terminal.shows("exit code 1").split())
    assert "jobctl top needs the package textual: run pip install 'pyjobd[tui]'" in seen


def test_without_a_terminal_it_says_what_is_for_that(server: EmbeddedServer) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "top", "--redis", server.url],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 2
    assert "it needs a terminal; jobctl stats --watch" in done.stderr


@pytest.mark.parametrize("signal", ["TERM", "HUP", "INT"])
def test_a_signal_leaves_the_terminal_as_it_was(
    signal: str, terminal: Terminal, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    top(terminal, server.url)
    terminal.shows("jobctl top", "done")
    terminal.signal(signal)
    assert "1Home" not in terminal.shows("exit code 0")
