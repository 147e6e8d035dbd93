"""Rows 21 to 23: signals at the worst moment, and more of them than anybody needs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, environment
from tests.support.processes import freeze

APP = """
    import time
    from pathlib import Path
    from jobd import job

    @job(name="nap")
    def nap(seconds):
        Path("napping").touch()
        time.sleep(seconds)
"""


def push_nap(running: Daemon, seconds: float) -> None:
    Client(running.url).push({"class": "nap", "args": [seconds]})
    running.wait((running.directory / "napping").exists, 10, "the job runs")


# -- 21: TERM during each step of the start ----------------------------------------------------

# Loaded by the interpreter before anything else: at the first audit event of the given kind whose
# arguments contain the given text, it sends a TERM, as if from outside, in the middle of the step.
HOOK = """
import os, signal, sys

step, text, target, marker, runner = os.environ["FAULT_AT"].split("|")
done = False

def hook(event, arguments):
    global done
    if done or event != step or text not in repr(arguments):
        return
    victim = os.getppid() if target == "parent" else os.getpid()
    if str(victim) == runner:
        return  # a step of the master, whose parent is the test
    done = True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return  # another process has done it
    os.kill(victim, signal.SIGTERM)

sys.addaudithook(hook)
"""


def faulty(directory: Path, step: str, text: str, target: str) -> dict[str, str]:
    """The environment of a daemon in which the signal is sent."""
    hooks = directory / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    marker = directory / "sent"
    return {
        "PYTHONPATH": os.pathsep.join([str(hooks), environment()["PYTHONPATH"]]),
        "FAULT_AT": f"{step}|{text}|{target}|{marker}|{os.getpid()}",
    }


STEPS = {
    "before the pidfile is made": ("open", "jobd.pid", "self"),
    "before it is locked": ("fcntl.flock", "", "self"),
    "before the log is opened": ("open", "jobd.log", "self"),
    "before the control socket": ("socket.bind", "jobd.sock", "self"),
    "before the pid is written": ("os.truncate", "", "self"),
    "before the first fork": ("os.fork", "", "self"),
    "before a child has handlers": ("open", "/dev/null", "parent"),
    "while the application loads": ("exec", "app.py", "parent"),
    "before a worker reaches Redis": ("socket.connect", "", "parent"),
}


@pytest.mark.parametrize("step", STEPS)
def test_21_a_stop_in_the_middle_of_the_start_leaves_nothing(
    idle_daemon: Daemon, redis: redis_py.Redis, step: str
) -> None:
    idle_daemon.write_app(APP)
    idle_daemon.run("-w", "2", env=faulty(idle_daemon.directory, *STEPS[step]))
    code = idle_daemon.wait_ended(15)
    assert (idle_daemon.directory / "sent").exists(), "the step was not taken"
    assert code == 0, "nothing but a wanted stop"
    assert '"state":"running"' not in idle_daemon.log()
    assert not idle_daemon.pidfile.exists()


def test_21_a_stop_of_the_launcher_before_it_forks_leaves_nothing(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    idle_daemon.write_app(APP)
    env = faulty(idle_daemon.directory, "fcntl.flock", "", "self")
    done = idle_daemon.start(env=env)
    assert (idle_daemon.directory / "sent").exists(), "the step was not taken"
    assert done.returncode == -signal.SIGTERM
    assert not idle_daemon.pidfile.exists()
    assert not idle_daemon.log_file.exists(), "no daemon has begun to live"


def test_21_a_child_that_gets_the_signal_before_it_has_handlers_keeps_it_to_itself(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    idle_daemon.write_app(APP)
    env = faulty(idle_daemon.directory, "open", "oom_score_adj", "self")
    idle_daemon.run("-w", "2", env=env)
    idle_daemon.wait_ready()
    assert (idle_daemon.directory / "sent").exists(), "the step was not taken"
    assert '"event":"signal_received"' not in idle_daemon.log(), "the master has not had it"
    # The keeper, which is the first, has left in its own way, and was replaced.
    (left,) = [r for r in idle_daemon.records() if r["event"] == "child_died"]
    assert (left["child"], left["cause"]) == ("keeper", "exit code 0")


# -- 22: signals without end -------------------------------------------------------------------


def test_22_no_signal_kills_by_its_default_action_once_the_pid_is_known(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    idle_daemon.write_app(APP)
    idle_daemon.run("-w", "2")
    harmless = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN)
    master = psutil.Process(idle_daemon.pid)
    sent = 0
    deadline = time.monotonic() + 20

    def over() -> bool:
        return idle_daemon.state().get("state") == "quiet" and len(idle_daemon.workers()) == 2

    while not idle_daemon.pidfile.exists() or not idle_daemon.pidfile.read_text():
        assert time.monotonic() < deadline
    while not over():
        assert time.monotonic() < deadline, idle_daemon.story()
        children = master.children()
        for process in [master, *children]:
            for number in harmless:
                process.send_signal(number)
                sent += 1
        assert idle_daemon.alive(), idle_daemon.story()
    assert sent > 100
    assert not [r for r in idle_daemon.records() if r["event"] in ("child_died", "child_exited")]
    assert idle_daemon.jobctl("resume").returncode == 0
    push_nap(idle_daemon, 0)
    idle_daemon.wait(lambda: redis.get("stat:processed") == b"1", 10, "it works")


# -- 23: signals during the stop ---------------------------------------------------------------


def test_23_fifty_terms_are_one_and_shorten_nothing(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "20")
    push_nap(running, 2)
    for _ in range(50):
        running.signal(signal.SIGTERM)
        time.sleep(0.01)  # so that they are seen one by one: pending ones are merged
    assert running.wait_ended() == 0
    assert redis.get("stat:processed") == b"1"
    assert redis.llen("queue:default") == 0
    assert running.log().count('"state":"stopping"') == 1
    assert running.log().count('"event":"already_stopping"') > 10


def test_23_quit_turns_a_graceful_stop_into_one_at_once(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "60")
    push_nap(running, 60)
    running.signal(signal.SIGTERM)
    running.wait_for_log("stopping")
    running.signal(signal.SIGQUIT)
    assert running.wait_ended() == 0
    assert redis.llen("queue:default") == 1


def test_23_a_detached_daemon_takes_the_interrupt_for_a_term(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    idle_daemon.write_app(APP)
    assert idle_daemon.start("-t", "20").returncode == 0
    push_nap(idle_daemon, 3.5)
    for _ in range(3):
        idle_daemon.signal(signal.SIGINT)
        time.sleep(1.1)  # insistence is a matter of time
    idle_daemon.wait_ended()
    assert redis.get("stat:processed") == b"1"


def test_23_a_third_interrupt_kills_and_the_next_run_recovers(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "60")
    running.exit_codes = {0, 130}
    push_nap(running, 3)
    (worker,) = running.workers()
    freeze(worker)  # so that not even the second one has an effect
    for _ in range(3):
        running.signal(signal.SIGINT)
        time.sleep(1.2)  # insistence is a matter of time: a bouncing key does not count
    assert running.wait_ended() == 130
    assert redis.llen("queue:default") == 0
    running.run("-c", "1")
    running.wait_ready()
    running.wait_for_log("recovery_complete")
    running.wait(lambda: redis.get("stat:processed") == b"1", 15, "the job has run")
