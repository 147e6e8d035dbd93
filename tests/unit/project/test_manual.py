"""The README and the manual say what the code does.

Links lead somewhere; commands, flags, variables, settings and keys exist under the names that the
pages use; the signals table is the code's; and the README's example does what the README shows.
"""

from __future__ import annotations

import datetime
import inspect
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import redis as redis_py

from jobctl.cli import jobctl
from jobd.cli.main import jobd
from jobd.runtime.process.signals import CHILD_DEAF_TO, CHILD_SIGNALS, MASTER_SIGNALS
from jobd.settings.daemon import SETTINGS
from jobd.settings.dashboard import WEB_SETTINGS
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from jobd.wire import payload
from tests.support.daemon import environment, wait

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
PAGES = sorted(
    [README, ROOT / "CHANGELOG.md", ROOT / "examples/README.md", *ROOT.glob("docs/*.md")]
)
COMMANDS: dict[str, click.Group] = {"jobd": jobd, "jobctl": jobctl}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_SNAKE = re.compile(r"(?<![\w.$/-])[a-z]+(?:_[a-z]+)+(?![\w/.-])")

# Words of the manual that are other programs'.
FOREIGN_FLAGS = {"--time", "--port", "--kill-whom", "--system", "--home-dir", "--shell", "--now"}
# Of `python -m benchmarks`, which is no part of the package.
FOREIGN_FLAGS |= {"--quick", "--only", "--publish", "--rounds"}
FOREIGN_WORDS = {"run_in_executor", "dump_threads", "unique_for", "huey_consumer", "preload_app"}
FOREIGN_WORDS |= {"monkey_patch", "patch_all", "bind_contextvars", "zsh_source", "get_task_logger"}
FOREIGN_WORDS |= {"before_request", "current_user", "url_for"}  # of Flask
FOREIGN_WORDS |= {"begin_nested", "join_transaction_mode", "pool_pre_ping"}  # of SQLAlchemy
FOREIGN_WORDS |= {"load_from_hash", "enable_utc"}  # of sidekiq-cron and Celery
# Of Django and Celery, of RQ, of Sidekiq, of Dramatiq, of Huey.
_OF_OTHERS = (
    "django_db django_capture_on_commit_callbacks "
    "autodiscover_tasks task_acks_late task_default_queue visibility_timeout worker_concurrency "
    "retry_jitter "
    "on_commit acks_late before_task_publish broker_url "
    "beat_schedule default_retry_delay dont_autoretry_for on_failure "
    "rate_limit soft_time_limit task_always_eager task_failure task_postrun task_prerun "
    "task_reject_on_worker_lost task_routes time_limit worker_max_memory_per_child "
    "worker_max_tasks_per_child worker_prefetch_multiplier worker_process_init worker_shutdown "
    "parent_id root_id update_state save_meta "
    "at_front depends_on enqueue_at enqueue_many failure_ttl get_current_job is_async job_id "
    "send_stop_job_command reliable_scheduler sidekiq_retries_exhausted super_fetch "
    "after_process_boot after_process_message after_worker_shutdown before_enqueue "
    "before_process_message get_current_message get_result max_age max_backoff min_backoff "
    "notify_shutdown on_retry_exhausted queue_name retry_when send_with_options store_results "
    "add_to_chord chord_unlock ignore_result link_error result_backend result_expires "
    "call_local huey_consumer lock_task on_shutdown on_startup post_execute pre_execute "
    "delay_on_commit retry_backoff retry_delay revoke_by_id run_huey "
    # Of their test kits, and ActiveJob's.
    "assert_enqueued_with assert_no_enqueued_jobs celery_app celery_worker clear_all "
    "django_capture_on_commit_callbacks drain_all have_enqueued_sidekiq_job "
    "perform_enqueued_jobs task_eager_propagates"
)
FOREIGN_WORDS |= {"invalidate_all", "my_callback", "valid_within_batch"}  # of Sidekiq Pro
FOREIGN_WORDS |= set(_OF_OTHERS.split())
FOREIGN_FLAGS |= {"--with-scheduler", "--burst", "--no-deps", "--watch", "--url", "--app"}
FOREIGN_FLAGS |= {"--autoscale"}  # of Celery
# Of docker and pip.
FOREIGN_FLAGS |= {"--init", "--build-arg", "--stop-timeout", "--env", "--read-only", "--tmpfs"}
FOREIGN_FLAGS |= {"--security-opt", "--cap-drop", "--python", "--no-cache-dir"}
FOREIGN_FLAGS |= {"--unix-socket"}  # of curl
_ENDS = ("processed", "failed", "expired", "cancelled", "duplicate")
# Counters get the end of their names by the rules of Prometheus.
FOREIGN_WORDS |= {f"jobd_jobs_{what}_total" for what in _ENDS}
FOREIGN_WORDS |= {"jobd_queue_started_total", "jobd_queue_started_late_total"}
VARIABLES_BESIDE_SETTINGS = {"JOBD_CONFIG", "JOBD_SERVER_BIN"}
VARIABLES_BESIDE_SETTINGS |= {"JOBD_DASHBOARD", "JOBD_TITLE"}  # of a Flask application

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return _BLOCK.sub("", page.read_text())


def slug(heading: str) -> str:
    """The anchor that a heading gets, as GitHub makes it."""
    plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in _HEADING.findall(prose(page))}


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            wrong.append(f"{link}: there is no {target}")
        elif anchor and anchor not in anchors(target):
            wrong.append(f"{link}: {target.name} has no such heading")
    assert not wrong, "\n".join(wrong)


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every use of jobd and jobctl on the page, split into words."""
    text = page.read_text()
    lines = [
        line for kind, block in _BLOCK.findall(text) if kind == "sh" for line in block.splitlines()
    ]
    lines += _CODE.findall(prose(page))
    for line in lines:
        for part in re.split(r"&&|\\?[|]|;", line.partition(" #")[0]):
            try:
                words = shlex.split(re.sub(r"[\[\]…]| > .*", " ", part))
            except ValueError:
                continue  # split inside of quotes; test_snippets reads blocks as a shell does
            while words and (re.match(r"[A-Z_]+=", words[0]) or words[0] in ("sudo", "export")):
                words.pop(0)
            if len(words) > 1 and Path(words[0]).name in COMMANDS:
                yield [Path(words[0]).name, *words[1:]]


def parse(name: str, arguments: list[str]) -> None:
    """Raises click.UsageError unless the command exists and takes all these options."""
    group = COMMANDS[name]
    context = click.Context(group, info_name=name)
    _, rest, _ = group.make_parser(context).parse_args(arguments)
    if not rest:
        return
    command = group.get_command(context, rest[0])
    if command is None:
        raise click.UsageError(f"no command {rest[0]!r}")
    below = click.Context(command, info_name=rest[0], parent=context)
    _, extra, _ = command.make_parser(below).parse_args(rest[1:])
    if extra and isinstance(command, click.Group):
        parse_below(command, below, extra)
    elif extra:
        raise click.UsageError(f"it takes no {extra}")


def parse_below(group: click.Group, context: click.Context, arguments: list[str]) -> None:
    """The same for a command of a group."""
    command = group.get_command(context, arguments[0])
    if command is None:
        raise click.UsageError(f"no command {arguments[0]!r}")
    below = click.Context(command, info_name=arguments[0], parent=context)
    _, extra, _ = command.make_parser(below).parse_args(arguments[1:])
    if extra:
        raise click.UsageError(f"it takes no {extra}")


@by_page
def test_commands_and_their_flags_exist(page: Path) -> None:
    wrong = []
    for name, *arguments in command_lines(page):
        try:
            parse(name, arguments)
        except click.UsageError as error:
            wrong.append(f"{name} {shlex.join(arguments)}: {error.format_message()}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_command_would_be_noticed() -> None:
    parse("jobctl", ["-P", "jobd.pid", "stop", "--timeout", "0"])
    for arguments in (
        ["halt"],
        ["dead", "list"],
        ["dead", "ls", "--bogus"],
        ["stop", "--tiemout", "0"],
        ["stop", "now"],
    ):
        with pytest.raises(click.UsageError):
            parse("jobctl", arguments)


def options_of(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    for parameter in command.get_params(context):
        yield from [*parameter.opts, *parameter.secondary_opts]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options_of(below)


@by_page
def test_flags_and_variables_exist(page: Path) -> None:
    text = page.read_text()
    flags = {option for group in COMMANDS.values() for option in options_of(group)} | FOREIGN_FLAGS
    assert set(_FLAG.findall(text)) <= flags
    settings = (*SETTINGS, *WEB_SETTINGS)
    variables = {name for setting in settings for name in setting.env} | VARIABLES_BESIDE_SETTINGS
    assert set(re.findall(r"\bJOBD_[A-Z_]+\b", text)) <= variables


@by_page
def test_settings_exist(page: Path) -> None:
    named = set(re.findall(r"`(\w+)` setting", page.read_text()))
    assert named <= {setting.name for setting in SETTINGS}


@by_page
def test_words_of_the_code_are_in_the_code(page: Path) -> None:
    """Settings, options, payload fields, log events, methods: what is renamed must be so here."""
    places = ("jobd/**/*.py", "jobctl/**/*.py", "jobd_pytest.py")
    sources = [source for place in places for source in ROOT.glob(place)]
    known = set(re.findall(r"\w+", "\n".join(source.read_text() for source in sources)))
    blocks = {
        word for _, block in _BLOCK.findall(page.read_text()) for word in re.findall(r"\w+", block)
    }
    named = {word for code in _CODE.findall(prose(page)) for word in _SNAKE.findall(code)}
    assert named - blocks - FOREIGN_WORDS <= known


def rows(page: Path, mark: str) -> list[list[str]]:
    """The body of the table between the marks, a list of cells a row."""
    found = re.search(
        rf"<!-- {mark}: begin -->\n(.*?)<!-- {mark}: end -->", page.read_text(), re.DOTALL
    )
    assert found, f"{page.name} has no table {mark!r}"
    lines = found[1].strip().splitlines()[2:]
    cells = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    return [[cell.strip().replace(r"\|", "|") for cell in row] for row in cells]


def test_the_signals_are_those_of_the_code() -> None:
    to_master: set[signal.Signals] = set()
    to_worker: set[signal.Signals] = set()
    ignored: set[signal.Signals] = set()
    for names, _, effect_on_worker in rows(README, "signals"):
        numbers = {signal.Signals[f"SIG{name}"] for name in _CODE.findall(names)}
        to_master |= numbers
        (ignored if effect_on_worker == "no effect" else to_worker).update(numbers)
    assert to_master == MASTER_SIGNALS - {signal.SIGCHLD}
    assert to_worker == CHILD_SIGNALS
    assert ignored == CHILD_DEAF_TO


def test_the_page_of_signals_is_complete() -> None:
    text = (ROOT / "docs/signals.md").read_text()
    sections = dict(re.findall(r"^## (To .*?)\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL))
    found = {
        name: {
            signal.Signals[f"SIG{each}"]
            for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
            for each in _CODE.findall(row)
        }
        for name, section in sections.items()
    }
    beyond = {signal.SIGABRT, signal.SIGTTOU, signal.SIGPIPE, signal.SIGWINCH}
    assert found["To the master"] == MASTER_SIGNALS - {signal.SIGCHLD} | beyond
    assert found["To one worker"] == CHILD_SIGNALS | CHILD_DEAF_TO | {signal.SIGKILL}


def test_the_keys_are_those_of_the_code() -> None:
    keys = Keys()
    at = datetime.datetime(2026, 11, 23, 6, 41, tzinfo=datetime.UTC).timestamp()
    samples: dict[str, Any] = {
        "name": "NAME",
        "day": "YYYY-MM-DD",
        "identity": "IDENTITY",
        "queue": "QUEUE",
        "jid": "JID",
        "key": "KEY",
        "digest": "DIGEST",
        "schedule": "ID",
        "ref": "ID",
        "bid": "ID",
        "nonce": "NONCE",
        "label": "LABEL",
        "of": "OF",
        "source": "SET",
        "at": at,
    }
    times = {"261123|6:41": "YYMMDD|H:MM", "261123|6:4": "YYMMDD|H:M", "20261123": "YYYYMMDD"}
    times["-23-6:41"] = "-D-H:M"
    spelled = {value for name, value in vars(keys).items() if name != "prefix"}
    for name, method in inspect.getmembers(keys, inspect.ismethod):
        if not name.startswith("_"):
            key = method(*(samples[each] for each in inspect.signature(method).parameters))
            for sample, letters in times.items():
                key = key.replace(sample, letters)
            spelled.add(key)
    documented = [
        key for row in rows(ROOT / "docs/architecture.md", "keys") for key in _CODE.findall(row[0])
    ]
    assert sorted(documented) == sorted(spelled)


NOT_THERE = {
    "features/limits": "rate limits",
    "features/iteration": "saved progress",
    "features/encryption": "encrypted arguments",
    "contrib/sentry": "Sentry",
    "contrib/opentelemetry": "OpenTelemetry",
}
"""What docs/limits.md calls missing, by the place where it would be."""


@pytest.mark.parametrize("place", NOT_THERE)
def test_what_jobd_is_said_not_to_do_it_does_not_do(place: str) -> None:
    there = any((ROOT / "jobd" / f"{place}{end}").exists() for end in (".py", "/__init__.py"))
    said = NOT_THERE[place] in (ROOT / "docs/limits.md").read_text().partition("\n## ")[0]
    assert said is not there


def test_the_payload_shown_is_one() -> None:
    found = re.search(r"^```json\n(.*)\n```$", (ROOT / "docs/wire-format.md").read_text(), re.M)
    assert found
    raw = found[1].encode()
    shown = payload.decode(raw)
    assert payload.encode(shown) == raw
    options = {key: shown[key] for key in ("retry", "queue")}
    made = payload.create(
        shown["class"], shown["args"], shown["kwargs"], options, jid=shown["jid"], now=1.5
    )
    payload.stamp(made, 2.5)
    assert list(made) == list(shown)


def example(part: str) -> str:
    """A block of the README's example."""
    found = re.search(
        rf"<!-- example: {part} -->\n```\w*\n(.*?)^```$", README.read_text(), re.DOTALL | re.M
    )
    assert found, f"the README has no example {part!r}"
    return found[1]


def message(line: str) -> str:
    """What a line of the log says, without what differs between runs."""
    text = line.partition("]")[2]
    return re.sub(r"^ job-\d+ +|jid=\w+ ", "", text).strip()


def command(line: str) -> list[str]:
    """A command of the README, run from this checkout."""
    name, *arguments = shlex.split(line)
    return [sys.executable, *([] if name == "python" else ["-m", name]), *arguments]


def test_the_example_does_what_the_readme_shows(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    source = example("shop.py")
    assert len(source.splitlines()) <= 15
    (tmp_path / "shop.py").write_text(source)
    settings = environment({"JOBD_REDIS": server.url})
    push, run = example("commands").splitlines()
    subprocess.run(command(push), cwd=tmp_path, env=settings, check=True, timeout=30)
    log = tmp_path / "log"
    with log.open("wb") as output:
        daemon = spawn(command(run), output=output, directory=tmp_path, environment=settings)
    shown = [message(line) for line in example("output").splitlines()]

    def seen() -> bool:
        said = [message(line) for line in log.read_text().splitlines()]
        return all(line in said for line in shown)

    wait(seen, 20, f"{shown} in the log")
    asked = [line for _, block in _BLOCK.findall(README.read_text()) for line in block.splitlines()]
    for line in [line for line in asked if line.startswith("jobctl -P jobd.pid ")]:
        done = subprocess.run(
            command(line),
            cwd=tmp_path,
            env=settings,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert daemon.wait(10) == 0
