"""The end of a process of ours after an application that has left nothing as it was."""

from __future__ import annotations

import os
import time

import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
import atexit, builtins, logging, os, resource, signal, subprocess, sys, threading, time
from pathlib import Path
import jobd
from jobd import job

HERE = Path("seen")  # by a job under another user, too
HERE.mkdir(exist_ok=True)
HERE.chmod(0o777)

@job(name="ok")
def ok():
    pass

@job(name="spoil")
def spoil(how):
    exec(how, globals())

@job(name="nap")
def nap(seconds):
    (HERE / "napping").touch()
    time.sleep(seconds)

@job(name="late", timeout=0.2, retry=0)
def late():
    note("late")
    while not (HERE / "over").exists():
        try:
            time.sleep(0.05)
        except jobd.JobTimeout:
            pass

def note(word):
    with (HERE / "notes").open("a") as notes:
        notes.write(f"{os.getpid()} {word}\\n")

def refuse(*_args, **_kwargs):
    raise RuntimeError("can't start new thread")

def limit_threads():
    if os.geteuid() == 0:  # which has no limit
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        note("limit")

@job(name="no_threads")
def no_threads(how):
    if how == "patched":
        threading.Thread.start = refuse
    else:
        limit_threads()

@jobd.on("quiet")
def quieted():
    note("quiet")

@jobd.on("exit")
def left():
    note("exit")
"""

SPOILED = {
    "no stream": "sys.stdout = sys.stderr = sys.__stdout__ = None",
    "without flush": "sys.stdout = sys.stderr = object()",
    "closed": "sys.stdout.close(); sys.stderr.close()",
    "raising": """
class Raising:
    def flush(self): raise BaseException("flushed")
    def __getattr__(self, name): raise SystemExit(name)
sys.stdout = sys.stderr = Raising()
""",
    "hanging": """
class Hanging:
    def flush(self): time.sleep(600)
    def write(self, text): return len(text)
sys.stdout = Hanging()
""",
    "hanging in C": """
class Locked:
    def flush(self): lock = threading.Lock(); lock.acquire(); lock.acquire()
    def write(self, text): return len(text)
sys.stdout = Locked()
""",
    "no exit": "os._exit = lambda code: None",
    "no exit in any module": """
for module in list(sys.modules.values()):
    if module is not None and hasattr(module, "os") and getattr(module.os, "_exit", None):
        module.os._exit = lambda code: None
sys.exit = os.abort = os.kill = lambda *args: None
""",
    "no signals": "signal.signal = signal.setitimer = signal.pthread_sigmask = lambda *args: None",
    "hooks": """
def fails(*args): raise SystemExit(9)
sys.excepthook = sys.unraisablehook = threading.excepthook = fails
""",
    "no logging": """
logging.shutdown = logging.Logger.handle = lambda *args: 1 / 0
logging.getLogger().handlers.clear()
""",
    "atexit": "atexit.register(sys.exit, 7)",
}

SPOILED_LATER = {
    **SPOILED,
    # With these no process gets as far as a job: the standard library itself needs them.
    "no stream at all": "del sys.stdout, sys.stderr",
    "no time": "time.sleep = lambda seconds: 1 / 0",
    "no builtins": "builtins.print = builtins.open = None",
    "no modules": "sys.modules.clear()",
}


def push(running: Daemon, name: str, *args: object) -> None:
    Client(running.url).push({"class": name, "args": list(args)})


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("how", SPOILED)
def test_no_application_keeps_a_child_from_its_end(
    daemon: StartDaemon, redis: redis_py.Redis, how: str, preload: tuple[str, ...]
) -> None:
    running = daemon(f"{APP}\n{SPOILED[how]}\n", "-t", "5", *preload)
    push(running, "ok")
    leaves_well(running, redis)


@pytest.mark.parametrize("how", SPOILED_LATER)
def test_no_job_keeps_its_worker_from_its_end(
    daemon: StartDaemon, redis: redis_py.Redis, how: str
) -> None:
    running = daemon(APP, "-t", "5")
    push(running, "spoil", SPOILED_LATER[how])
    leaves_well(running, redis)


def leaves_well(running: Daemon, redis: redis_py.Redis) -> None:
    """The worker that has run the one job is replaced, and the daemon stops."""
    running.expect_in_log("SystemExit: 7", "fetcher_failed", "background_loop_failed")
    (worker,) = running.workers()
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "a job has run")
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 0, done.stderr
    running.wait(lambda: worker not in {one.pid for one in running.children()}, 10, "it has gone")
    assert running.stop() == 0
    assert "internal_error" not in running.log()
    assert "process_failed" not in running.log()
    assert "child_died" not in running.log()
    assert running.log().count('"event":"master_ended"') == 1


def notes(running: Daemon) -> list[tuple[int, str]]:
    file = running.directory / "seen" / "notes"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(pid), word) for pid, word in (line.split() for line in lines)]


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_exit_handlers_run_once_in_each_worker_after_the_hook(
    daemon: StartDaemon, preload: tuple[str, ...]
) -> None:
    app = APP + 'atexit.register(note, "first"); atexit.register(note, "second")\n'
    running = daemon(app, "-w", "2", *preload)
    workers = running.workers()
    assert running.stop() == 0
    for worker in workers:
        own = [word for pid, word in notes(running) if pid == worker]
        assert own == ["quiet", "exit", "second", "first"]
    assert {pid for pid, _word in notes(running)} == set(workers)


def test_exit_handlers_of_the_master_do_not_run_in_its_children(
    idle_daemon: Daemon,
) -> None:
    running = idle_daemon
    running.write_app(APP)
    running.write_app(
        """
        import atexit, os
        def note():
            with open(os.environ["NOTES"], "a") as notes:
                notes.write(f"{os.getpid()} master\\n")
        atexit.register(note)
        """,
        "sitecustomize",
    )
    path = os.pathsep.join([str(running.directory), os.environ.get("PYTHONPATH", "")])
    file = running.directory / "seen" / "notes"
    file.parent.mkdir()
    running.run(env={"PYTHONPATH": path, "NOTES": str(file)})
    running.wait_ready()
    pid = running.pid
    assert running.stop() == 0
    assert [one for one, word in notes(running) if word == "master"] in ([pid], [])


@pytest.mark.parametrize(
    "handler",
    [
        "lambda: time.sleep(600)",
        "lambda: os.read(os.pipe()[0], 1)",
        "lambda: sys.exit(9)",
        "lambda: 1 / 0",
        "lambda: os.fork()",
        "lambda: os.fork() or sys.exit(4)",
        "lambda: signal.alarm(0) or time.sleep(600)",
        "lambda: threading.Thread(target=time.sleep, args=(600,)).start()",
    ],
)
def test_no_exit_handler_does_harm(
    daemon: StartDaemon, redis: redis_py.Redis, handler: str
) -> None:
    running = daemon(f"{APP}\natexit.register({handler})\n", "-t", "0.5")
    running.expect_in_log("ZeroDivisionError", "SystemExit")
    push(running, "nap", 60)
    running.wait((running.directory / "seen" / "napping").exists, 10, "the job runs")
    began = time.monotonic()
    assert running.stop() == 0
    assert redis.llen("queue:default") == 1  # given back before
    assert "child_died" not in running.log()
    assert running.log().count('"event":"worker_stopped"') == 1
    assert time.monotonic() - began < 15
    redis.flushall()


@pytest.mark.parametrize("words", ["quiet", "stop"])
@pytest.mark.parametrize("how", ["patched", "limit"])
def test_where_there_is_no_thread_to_be_had_a_stop_harms_no_job(
    daemon: StartDaemon, redis: redis_py.Redis, how: str, words: str
) -> None:
    running = daemon(APP, "-c", "4", "-t", "20")
    push(running, "no_threads", how)
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "there are no more threads")
    if how == "limit":
        assert [word for _pid, word in notes(running)] == ["limit"]
    push(running, "nap", 1)
    push(running, "late")
    running.wait(lambda: "late" in [word for _, word in notes(running)], 10, "the jobs run")
    if words == "quiet":
        assert running.jobctl("quiet").returncode == 0
        running.wait(lambda: "quiet" in [word for _, word in notes(running)], 10, "the hook")
    assert running.jobctl("stop", "--timeout", "3").returncode == 0
    assert running.wait_ended() == 0
    log = running.log()
    assert "child_died" not in log
    assert "process_failed" not in log
    assert redis.llen("queue:default") == 0  # the one has ended, the other has failed
    assert redis.get("stat:processed") == b"3"
    assert redis.get("stat:failed") == b"1"
    assert [word for _, word in notes(running)][-2:] == ["quiet", "exit"]


def test_a_worker_that_gets_no_threads_says_so(daemon: StartDaemon) -> None:
    running = daemon(f'{APP}\njobd.on("startup")(limit_threads)\n', ready=False)
    running.exit_codes = {71}
    assert running.wait_ended() == 71
    assert "concurrency 10: not all threads of the worker can be started" in running.log()
