"""jobctl: it waits for what it asked for, and signals nobody else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis as redis_py

from jobctl.codes import Problem
from jobctl.daemon import orphans, way
from jobctl.daemon import pidfile as control
from jobd import Client
from jobd.master.files import statefile
from jobd.runtime.process import processes
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, environment
from tests.support.processes import freeze

APP = """
import os
import time
from pathlib import Path
from jobd import job

@job
def nap(seconds):
    Path("napping").touch()
    time.sleep(seconds)

@job
def die():
    os.kill(os.getpid(), 9)

@job
def hog():
    Path("napping").touch()
    sum(range(400_000_000))
"""


def jobctl(
    pidfile: Path, *arguments: str, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobctl", "--pidfile", str(pidfile), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=directory,
        env=environment(),
    )


def test_wrong_usage_is_one_line_that_says_where_help_is(tmp_path: Path) -> None:
    done = jobctl(tmp_path / "pid", "stop", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("jobctl: No such option")
    assert line.endswith("; see jobctl stop --help")


def test_without_a_command_help_and_2(tmp_path: Path) -> None:
    done = jobctl(tmp_path / "pid")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: jobctl")


def push(running: Daemon, name: str, *args: object) -> None:
    Client(running.url).push({"class": f"app.{name}", "args": list(args)})
    running.wait((running.directory / "napping").exists, 10, "the job runs")


def test_status(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-w", "2", "-c", "3")
    push(running, "nap", 0)
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job has run")
    answer = json.loads(running.jobctl("status", "--json").stdout)
    assert answer["state"] == "running"
    assert answer["pid"] == running.pid
    assert [worker["state"] for worker in answer["workers"]] == ["ready", "ready"]
    assert sum(worker["processed"] for worker in answer["workers"]) == 1
    shown = running.jobctl("status")
    assert shown.returncode == 0
    assert "RUNNING" in shown.stdout
    assert "worker.1" in shown.stdout
    assert "0/3" in shown.stdout


def test_quiet_waits_until_no_worker_takes_jobs(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    push(running, "nap", 2)
    assert running.jobctl("quiet").stdout == "quiet\n"
    Client(running.url).push({"class": "app.nap", "args": [0]})
    statefile = json.loads(running.jobctl("status", "--json").stdout)["state"]
    assert statefile in ("quieting", "quiet")  # the second once the nap is over
    assert redis.llen("queue:default") == 1
    assert running.jobctl("resume").returncode == 0
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "both jobs have run")


def test_stop_returns_when_the_daemon_has_gone(daemon: StartDaemon) -> None:
    running = daemon(APP, "-t", "60")
    push(running, "nap", 60)
    done = running.jobctl("stop", "--timeout", "0.2")
    assert (done.returncode, done.stdout) == (0, "stopped; 1 unfinished job returned to Redis\n")
    assert running.wait_ended(2) == 0


def test_stop_counts_what_had_to_be_recovered_as_well(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2", "-c", "1")
    for _ in range(2):
        Client(running.url).push({"class": "app.nap", "args": [60]})
    running.wait(
        lambda: all(
            worker["busy"]
            for worker in json.loads(running.jobctl("status", "--json").stdout)["workers"]
        ),
        10,
        "both run",
    )
    command = [sys.executable, "-m", "jobctl", "-P", str(running.pidfile), "stop", "--timeout", "2"]
    stopping = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)
    running.wait(lambda: running.state()["state"] == "stopping", 10, "it stops")
    # The keeper returns the job of this one, the other returns its own at the deadline.
    os.kill(running.workers()[0], signal.SIGKILL)
    shown, _ = stopping.communicate(timeout=20)
    assert (stopping.returncode, shown) == (0, "stopped; 2 unfinished jobs returned to Redis\n")


def test_stop_of_an_idle_daemon_has_no_jobs_to_tell_of(daemon: StartDaemon) -> None:
    running = daemon(APP)
    assert running.jobctl("stop").stdout == "stopped\n"


def test_stop_of_nothing_is_success(tmp_path: Path) -> None:
    assert jobctl(tmp_path / "jobd.pid", "stop").returncode == 0
    assert jobctl(tmp_path / "jobd.pid", "status").returncode == 3


def test_stop_kills_a_master_that_does_not_answer(daemon: StartDaemon) -> None:
    running = daemon(APP)
    running.exit_codes = None
    freeze(running.pid)
    # The master is let go on by the stop: stopped, it could not stop anything.
    assert running.jobctl("stop", "--kill").returncode == 0
    running.wait_ended(2)


def test_a_kill_spares_no_process_of_the_state_file(tmp_path: Path) -> None:
    """Not even one that would not notice its master's end."""
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(4)]
    ticks = {one.pid: processes.start_ticks(one.pid) or 0 for one in sleepers}
    master, *children = ticks

    def record(pid: int) -> statefile.ChildRecord:
        return statefile.ChildRecord(
            slot=0, pid=pid, ticks=ticks[pid], identity="", generation=1, state="ready"
        )

    keeper, zygote, worker = map(record, children)
    written = statefile.State(
        pid=master,
        ticks=ticks[master],
        boot_id=processes.boot_id(),
        uid=os.geteuid(),
        version="",
        state="running",
        generation=1,
        keeper=keeper,
        zygotes=(zygote,),
        workers=(worker,),
    )
    statefile.save(tmp_path / "jobd.state", written)
    process = processes.Process.open(master, ticks[master])
    assert process is not None
    try:
        control.Daemon(tmp_path / "jobd.pid", process).kill()
        assert [one.wait(5) for one in sleepers] == [-signal.SIGKILL] * 4
    finally:
        process.close()
        for one in sleepers:
            one.kill()
            one.wait()


def test_threads_prints_every_thread_with_its_job(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "1")
    push(running, "nap", 2)
    done = running.jobctl("threads")
    assert done.returncode == 0, done.stderr
    assert "== master, pid" in done.stdout
    assert "== keeper, pid" in done.stdout
    assert "app.nap" in done.stdout
    assert "time.sleep(seconds)" in done.stdout


def test_threads_of_a_worker_that_holds_the_interpreter(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    push(running, "hog")
    done = running.jobctl("threads")
    assert done.returncode == 4
    assert "raw dump" in done.stdout
    assert "in hog" in done.stdout
    assert re.search(r"has been running app\.hog [0-9a-f]{24} for \d", done.stdout)
    busy = running.jobctl("threads", "--busy")
    assert busy.returncode == 4
    assert "in hog" in busy.stdout
    assert (done.stdout.count("\nThread 0x") > 1, busy.stdout.count("Thread 0x")) == (True, 1)
    (child,) = json.loads(running.jobctl("status", "--json").stdout)["workers"]
    assert child["busy"] == 1
    running.signal(signal.SIGQUIT)
    running.wait_ended(30)


def test_a_stop_says_for_whom_it_waits_beyond_the_time_of_the_jobs(daemon: StartDaemon) -> None:
    running = daemon(APP)
    push(running, "hog")
    stopped = running.jobctl("stop", "--timeout", "0")
    assert stopped.returncode == 0
    assert re.search(
        r"which runs app\.hog [0-9a-f]{24}, past the deadline: it is killed if it does not exit "
        r"\(for \d+ s at most\)",
        stopped.stderr,
    )


def test_a_worker_that_has_crashed_is_not_called_unknown(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "1")
    for _ in range(4):
        Client(running.url).push({"class": "app.die", "args": []})
    for command in ("retire", "threads"):
        said = (
            rf"jobctl: {command}: worker\.0 has crashed \(killed by signal 9 \(SIGKILL\) "
            r"while it ran app\.die [0-9a-f]{24}\) and is started again in \d+ s\n"
        )

        def is_said(command: str = command, said: str = said) -> bool:
            done = running.jobctl(command, "worker.0")
            return done.returncode == 1 and bool(re.fullmatch(said, done.stderr))

        running.wait(is_said, 30, f"{command} says so")
    running.wait(
        lambda: "(running, 0 of 1 workers ready)" in running.jobctl("status", "--check").stdout,
        30,
        "it counts as one that is missing",
    )


def test_a_master_that_is_stopped_is_called_so(daemon: StartDaemon) -> None:
    running = daemon(APP)
    assert re.search(r"pid \d+ \(jobd master[^,]* running, ", processes.describe(running.pid))
    freeze(running.pid)
    running.wait(lambda: processes.run_state(running.pid) == "T", 5, "it is stopped")
    try:
        for command, code in {"status": 5, "reload": 4}.items():
            done = running.jobctl(command)
            assert done.returncode == code
            assert "the master does not answer: it is stopped (SIGSTOP" in done.stderr
    finally:
        running.signal(signal.SIGCONT)


def killed_beside_a_job(daemon: StartDaemon) -> tuple[Daemon, int]:
    """A daemon whose master was killed while its worker runs a job; and the worker's pid."""
    running = daemon(APP, "-w", "1", "-t", "3")
    push(running, "nap", 60)
    running.wait(
        lambda: json.loads(running.jobctl("status", "--json").stdout)["workers"][0]["busy"],
        10,
        "it runs",
    )
    (worker,) = running.workers()
    running.exit_codes, running.leaves_files = None, True
    running.signal(signal.SIGKILL)
    running.wait_ended()
    return running, worker


def test_what_a_killed_master_has_left_is_said(daemon: StartDaemon) -> None:
    running, worker = killed_beside_a_job(daemon)
    done = running.jobctl("status")
    said = f"(stale pidfile {running.pidfile}: its master, pid {running.pid}, died; the "
    said += "next start recovers its jobs"
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr
    assert f". Its children will exit within half a minute: worker.0 (pid {worker}))" in done.stderr
    running.wait(lambda: processes.start_ticks(worker) is None, 30, "the worker has left")
    done = running.jobctl("status")
    assert f"{said})" in done.stderr


def test_stop_waits_for_what_a_killed_master_has_left(daemon: StartDaemon) -> None:
    running, worker = killed_beside_a_job(daemon)
    done = running.jobctl("stop")
    assert processes.Process.open(worker, None) is None, "it returned before its job had ended"
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
    assert f"will exit within half a minute: worker.0 (pid {worker})" in done.stderr
    done = running.jobctl("stop")  # nothing is left
    assert (done.returncode, done.stderr) == (0, "")
    assert f"its master, pid {running.pid}, died; the next start" in done.stdout


def test_stop_waits_for_the_children_of_a_master_that_is_killed_meanwhile(
    daemon: StartDaemon,
) -> None:
    running = daemon(APP, "-w", "1", "-t", "3")
    push(running, "nap", 60)
    running.wait(
        lambda: json.loads(running.jobctl("status", "--json").stdout)["workers"][0]["busy"],
        10,
        "it runs",
    )
    (worker,) = running.workers()
    running.exit_codes, running.leaves_files = None, True
    command = [sys.executable, "-m", "jobctl", "-P", str(running.pidfile), "stop"]
    stopping = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)
    running.wait(lambda: running.state()["state"] == "stopping", 10, "it stops")
    running.signal(signal.SIGKILL)
    shown, _ = stopping.communicate(timeout=60)
    assert processes.Process.open(worker, None) is None, "it returned before its job had ended"
    assert (stopping.returncode, shown) == (0, "stopped\n")


@pytest.mark.parametrize("kill", [False, True])
def test_stop_of_children_that_do_not_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    """It neither calls them stopped nor waits for ever; --kill kills them."""
    monkeypatch.setattr(orphans, "_LEAVING", 0.1)
    deaf = subprocess.Popen(["sleep", "60"])
    record = statefile.ChildRecord(
        slot=0,
        pid=deaf.pid,
        ticks=processes.start_ticks(deaf.pid) or 0,
        identity="",
        generation=1,
        state="ready",
    )
    known = statefile.State(
        pid=4711,
        ticks=1,
        boot_id=processes.boot_id(),
        uid=os.geteuid(),
        version="",
        state="running",
        generation=1,
        workers=(record,),
    )
    died = orphans.MasterDied(tmp_path / "jobd.pid", os.geteuid(), known)
    monkeypatch.setattr(way, "check", lambda *_: None)  # /tmp is no place for root's files
    try:
        if kill:
            assert died.wait(kill=True) == 4
            assert deaf.wait(5) == -signal.SIGKILL
        else:
            with pytest.raises(Problem, match=rf"exited: worker.0 \(pid {deaf.pid}\); use --kill"):
                died.wait(kill=False)
            assert deaf.poll() is None
    finally:
        deaf.kill()
        deaf.wait()


def test_threads_of_a_stopped_worker_says_so(daemon: StartDaemon) -> None:
    running = daemon(APP)
    (worker,) = running.workers()
    freeze(worker)
    running.wait(lambda: processes.run_state(worker) == "T", 5, "it is stopped")
    done = running.jobctl("threads")
    os.kill(worker, signal.SIGCONT)
    assert done.returncode == 4
    assert "it is stopped" in done.stdout
    assert "worker.0" in done.stderr


def test_reopen_logs_waits_for_all_and_names_the_missing(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    running.log_file.rename(running.log_file.with_suffix(".log.1"))
    assert running.jobctl("reopen-logs").returncode == 0
    assert running.log_file.exists()
    worker = running.workers()[0]
    freeze(worker)
    done = running.jobctl("reopen-logs")
    os.kill(worker, signal.SIGCONT)
    assert done.returncode == 1
    assert f"pid {worker}" in done.stderr


def test_reopen_logs_says_once_what_is_wrong_for_all(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    running.log_file.rename(running.log_file.with_suffix(".log.1"))
    running.log_file.mkdir()
    done = running.jobctl("reopen-logs")
    assert done.returncode == 1
    assert done.stderr.count("it is a directory") == 1
    assert all(f"(pid {pid})" in done.stderr for pid in [running.pid, *running.workers()])
    running.log_file.rmdir()
    assert running.jobctl("reopen-logs").returncode == 0


def test_reload_with_wait_returns_when_the_new_generation_is_ready(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    old = set(running.workers())
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 0
    assert "generation 2 is complete" in done.stdout
    running.wait(lambda: not old & set(running.workers()), 5, "the old workers are gone")


def test_the_pidfile_is_found_by_variable_and_configuration(daemon: StartDaemon) -> None:
    running = daemon(APP)
    (running.directory / "jobd.toml").write_text(f'pidfile = "{running.pidfile}"\n')
    for extra in ({"JOBD_PIDFILE": str(running.pidfile)}, {}):
        done = subprocess.run(
            [sys.executable, "-m", "jobctl", "status"],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=running.directory,
            env=environment(extra),
        )
        assert done.returncode == 0, done.stderr


def test_a_mistake_in_the_configuration_does_not_take_jobctl_away(daemon: StartDaemon) -> None:
    running = daemon(APP)
    other = daemon(APP)

    def without_flags(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobctl", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=running.directory,
            env=environment(),
        )

    configuration = running.directory / "jobd.toml"
    configuration.write_text(f'pidfil = "{running.pidfile}"\nworkers = = 2\n')
    done = without_flags("stop")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the pidfile in line 1 is unclear" in done.stderr
    assert running.alive()
    configuration.write_text(f'pidfile = "{running.pidfile}"\nworkers = = 2\n')
    assert without_flags("status").returncode == 0
    done = without_flags("stop")
    assert (done.returncode, done.stdout) == (0, "stopped\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("jobctl: jobd.toml is not TOML: ")
    assert f"; using the pidfile {running.pidfile} nevertheless" in line
    assert running.wait_ended() == 0
    assert other.alive()


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(idle_daemon: Daemon, flag: str) -> None:
    done = idle_daemon.jobctl(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"jobctl \d\S+\n", done.stdout)


def test_retire_replaces_one_worker_which_finishes_its_jobs(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "2", "-c", "1", "-t", "0.2")
    first, second = running.workers()
    done = running.jobctl("retire", "worker.0")
    assert done.returncode == 0
    assert done.stdout == f"worker.0, pid {first}, will be replaced\n"
    running.wait(lambda: first not in running.workers(), 10, "it is gone")
    assert second in running.workers()
    running.wait(lambda: len(running.workers()) == 2, 5, "there are two again")


def test_retire_refuses_what_is_no_worker(daemon: StartDaemon) -> None:
    running = daemon(APP)
    done = running.jobctl("retire", "7")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "jobctl: retire: there is no worker.7: there is only worker.0\n"
    (worker,) = running.workers()
    done = running.jobctl("retire", str(worker))
    assert f"{worker} is the process id of worker.0: give worker.0" in done.stderr
    done = running.jobctl("retire", "keeper")
    assert done.returncode == 2
    assert "keeper is not a worker; give a name shown by jobctl status" in done.stderr
    assert running.jobctl("quiet").returncode == 0
    done = running.jobctl("retire", "0")
    assert (done.returncode, done.stderr) == (
        1,
        "jobctl: retire: the daemon is quiet and replaces no worker before the resume\n",
    )


def test_threads_of_some_processes_only(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    first, second = running.workers()
    for asked, shown in {
        ("worker.0",): {first},
        ("1",): {second},
        (str(second), "keeper"): {second, running.keeper()},
        ("master",): {running.pid},
    }.items():
        done = running.jobctl("threads", *asked)
        assert done.returncode == 0, done.stderr
        found = {int(pid) for pid in re.findall(r"^== .*, pid (\d+)", done.stdout, re.M)}
        assert found == shown  # in the order in which they answer
    done = running.jobctl("threads", "worker.7")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no process worker.7; there are master, keeper, worker.0" in done.stderr
    assert running.jobctl("threads", "--busy").stdout == "no jobs are running\n"


def test_threads_that_are_busy_with_their_arguments(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2", "-c", "3", "-t", "0")
    push(running, "nap", 600)
    done = running.jobctl("threads", "--busy")
    assert done.returncode == 0, done.stderr
    (thread,) = re.findall(r"^Thread .*$", done.stdout, re.M)
    assert re.search(r": app\.nap [0-9a-f]{24} from default, for [\d.]+ s, with \[600\]$", thread)
    assert done.stdout.count("== worker.") == 1
    assert "== master" not in done.stdout
    assert "Waiting for work" not in done.stdout
    running.signal(signal.SIGTTIN)
    running.wait_for_log("thread_dump_complete")
    assert "with [600]" not in running.log(), "a log is kept, and read by others"


def test_stop_says_what_it_waits_for(daemon: StartDaemon) -> None:
    running = daemon(APP, "-t", "60")
    push(running, "nap", 60)
    (worker,) = running.workers()
    done = running.jobctl("stop", "--timeout", "3")
    assert (done.returncode, done.stdout) == (0, "stopped; 1 unfinished job returned to Redis\n")
    first = done.stderr.splitlines()[0]
    assert re.fullmatch(
        rf"jobctl: stop: waiting for worker\.0 \(pid {worker}\), which runs app\.nap "
        r"[0-9a-f]{24} \(for \d s at most\)",
        first,
    )
    said = {record["event"]: record.get("jobs") for record in running.records()}
    for event in ("jobs_cut_short", "jobs_do_not_end"):
        assert re.fullmatch(r"app\.nap [0-9a-f]{24}", str(said[event])), event


def test_what_is_no_pidfile_is_named_for_what_it_is(daemon: StartDaemon) -> None:
    running = daemon(APP)
    (running.directory / "jobd.toml").write_text("workers = 1\n")
    for name, text in {
        "": "is a directory; give the pidfile in it",
        "jobd.sock": "is a socket, not a pidfile",
        "jobd.toml": "it does not hold a process id; use -C for a configuration",
    }.items():
        done = jobctl(running.directory / name, "status")
        assert (done.returncode, text in done.stderr) == (6, True), done.stderr
