"""Settings: their sources, their limits, and the texts that are made from them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.errors import ConfigError, Exit
from jobd.settings import reference
from jobd.settings.daemon import SETTINGS, Config, QueueSpec
from jobd.settings.dashboard import WEB_SETTINGS, WebConfig
from jobd.settings.load import find_file, load_web, read
from jobd.settings.load import load as load_settings

ROOT = Path(__file__).parents[3]


def problems(
    toml: str = "", env: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> str:
    """The text of the refusal."""
    with pytest.raises(ConfigError) as caught:
        load(toml, env, flags)
    assert caught.value.exit_code == Exit.CONFIG
    return str(caught.value)


def load(
    toml: str = "", env: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> Config:
    file = Path("jobd.toml")
    file.write_text(toml, encoding="utf-8")
    return load_settings("jobd.toml", env or {}, flags or {})


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_sources_everything_is_the_default() -> None:
    assert load_settings(None, {}, {}) == Config()
    assert Config().queues == (QueueSpec("default", 0),)


def test_each_source_overrides_those_before_it() -> None:
    toml = "concurrency = 2\n[environments.production]\nconcurrency = 3\n"
    assert load("concurrency = 2").concurrency == 2
    assert load(toml).concurrency == 2
    assert load(toml, {"JOBD_ENV": "production"}).concurrency == 3
    variables = {"JOBD_ENV": "production", "JOBD_CONCURRENCY": "4"}
    assert load(toml, variables).concurrency == 4
    assert load(toml, variables, {"concurrency": "5"}).concurrency == 5


@pytest.mark.parametrize(
    ("env", "flags", "expected"),
    [
        ({}, {}, 1),
        ({"JOBD_ENV": "b"}, {}, 2),
        ({"JOBD_ENV": "b"}, {"environment": "c"}, 3),
        ({"JOBD_ENV": "unknown"}, {}, 9),
    ],
)
def test_the_environment_selects_a_section(
    env: dict[str, str], flags: dict[str, object], expected: int
) -> None:
    toml = "environment = 'a'\nworkers = 9\n" + "".join(
        f"[environments.{name}]\nworkers = {number}\n" for number, name in enumerate("abc", 1)
    )
    assert load(toml, env, flags).workers == expected


def test_sections_that_are_not_in_use_are_checked_too() -> None:
    text = problems("[environments.production]\nworkers = 0\nwrokers = 2\nenvironment = 'x'")
    assert "environments.production.workers must be at least 1, not 0" in text
    assert "environments.production.wrokers is not a setting; did you mean workers?" in text
    assert "environments.production.environment cannot be set inside" in text


def test_flags_that_are_not_given_change_nothing() -> None:
    assert load("workers = 3", {}, {"workers": None, "queues": ()}).workers == 3


def test_an_empty_variable_is_not_set() -> None:
    env = {"JOBD_REDIS": "", "REDIS_URL": "redis://other/1", "JOBD_WORKERS": ""}
    assert load("", env).redis == "redis://other/1"
    assert load("", env | {"JOBD_REDIS": "redis://first/1"}).redis == "redis://first/1"


def test_queues_come_from_every_source() -> None:
    expected = (QueueSpec("critical", 3), QueueSpec("low", 0))
    assert load('queues = ["critical,3", "low"]').queues == expected
    assert load('queues = [["critical", 3], "low"]').queues == expected
    assert load("", {"JOBD_QUEUES": "critical,3  low"}).queues == expected
    assert load("", {}, {"queues": ("critical,3", "low")}).queues == expected


@pytest.mark.parametrize(
    ("weights", "mode"),
    [
        ([0], "strict"),
        ([0, 0], "strict"),
        ([1], "random"),
        ([1, 1], "random"),
        ([2, 1], "weighted"),
        ([0, 1], "weighted"),
        ([5], "weighted"),
    ],
)
def test_the_weights_decide_the_queue_mode(weights: list[int], mode: str) -> None:
    queues = tuple(QueueSpec(f"q{index}", weight) for index, weight in enumerate(weights))
    assert Config(queues=queues).queue_mode == mode


def test_a_switch_is_read_from_every_source() -> None:
    assert load("", {}, {}).preload is False
    assert load("preload = true", {}, {}).preload is True
    assert load("preload = true", {"JOBD_PRELOAD": "no"}, {}).preload is False
    assert load("", {"JOBD_PRELOAD": "1"}, {"preload": False}).preload is False
    assert load("", {}, {"preload": True}).preload is True


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("concurrency = 0", "concurrency must be at least 1, not 0"),
        ("concurrency = -4", "concurrency must be at least 1, not -4"),
        ("concurrency = true", "concurrency must be a whole number, not true"),
        ('concurrency = "4"', 'concurrency must be a whole number, without quotes, not "4"'),
        ("concurrency = 1.5", "concurrency must be a whole number, not 1.5"),
        ("exit_on_crash_loop = 1", "exit_on_crash_loop must be true or false, not 1"),
        ('exit_on_crash_loop = "true"', 'exit_on_crash_loop must be true or false, not "true"'),
        ("worker_timeout = 2.5", "worker_timeout must be 0 or at least 3, not 2.5"),
        ("memory_soft = 200\nmemory_hard = 100", "memory_hard (100) must be above memory_soft"),
        ("timeout = nan", "timeout must be a finite number"),
        ("timeout = inf", "timeout must be a finite number"),
        ("workers = 1000000", "workers must be at most 256"),
        ('queues = ["a/b"]', 'queues has the queue name "a/b"; a name may hold only'),
        ('queues = ["mail=2"]', "(a weight follows a comma: mail,2)"),
        ('queues = ["a b"]', '-q a -q b, JOBD_QUEUES="a b" or queues = ["a", "b"]'),
        ('queues = ["a,b"]', 'queues has several queues in one entry, "a,b": give each its own'),
        ('queues = "a,3,b,1"', '-q a,3 -q b,1, JOBD_QUEUES="a,3 b,1" or queues = ["a,3", "b,1"]'),
        ('queues = "a, b, c"', "-q a -q b -q c, JOBD"),
        ('queues = ["a,1.5"]', 'has "1.5" as a weight in "a,1.5"; it must be a whole number'),
        ('queues = ["a,"]', 'has nothing after the comma in "a,": a weight belongs there'),
        ('queues = ["a\\u0000"]', "queues has the queue name"),
        ('queues = [""]', "queues has an empty queue name"),
        ("queues = []", "queues must not be empty"),
        ('queues = ["a,-1"]', 'queues has the weight -1 for "a"'),
        ('queues = [["a", "1"]]', 'queues has "1" as the weight of "a"'),
        ('queues = [["a", true]]', 'queues has true as the weight of "a"'),
        ('queues = ["a", "a,2"]', 'queues names the queue "a" twice'),
        ("queues = 3", "queues must be a list, not 3"),
        ("queues = [{a = 1}]", "queues must hold"),
        ("labels = [3]", "labels must be text in quotes, not 3"),
        ('labels = ["a b"]', "labels must not be empty or contain spaces"),
        ('require = [""]', "require must not contain an empty text"),
        ("preload = 1", "preload must be true or false, not 1"),
        ('preload = "true"', 'preload must be true or false, not "true"'),
        ('log_level = "loud"', "log_level must be one of debug, info, warning, error"),
        ('tag = "a\\nb"', "tag must not contain control characters"),
        ("redis = 1", "redis must be text in quotes, not 1"),
        ('redis = "localhost"', "redis must be redis://HOST:PORT/DB"),
        ('redis = "redis://h:port/0"', "redis has an invalid host or port"),
        ('redis = "unix://"', "redis must hold the absolute path"),
        ("concurency = 5", "concurency is not a setting; did you mean concurrency?"),
        ("log-level = 5", "log-level is not a setting; did you mean log_level?"),
        ("xyz = 5", "xyz is not a setting"),
        ("[environment.production]", "environment must be text in quotes"),
        ("environments = 3", "environments must hold sections like [environments.production]"),
        ("[environments]\na = 1", "environments must hold sections"),
        ("logfile = 'x'\npidfile = 'x'", "logfile and pidfile are the same file"),
        ("a = = 3", "jobd.toml is not TOML: "),
        ("workers = 1\nworkers = 2", "jobd.toml is not TOML: "),
    ],
)
def test_what_is_wrong_is_said(toml: str, text: str) -> None:
    assert text in problems(toml)


def test_a_syntax_error_names_its_line() -> None:
    assert "line 3" in problems("workers = 1\n\nconcurrency 3")


def test_every_problem_is_reported_at_once_with_its_place() -> None:
    text = problems(
        "concurrency = 0", {"JOBD_TIMEOUT": "soon"}, {"workers": "-1", "log_level": "x"}
    )
    assert text.splitlines() == [
        "4 settings are wrong:",
        "  jobd.toml: concurrency must be at least 1, not 0",
        '  $JOBD_TIMEOUT must be a number, not "soon"',
        '  -w/--workers must be at least 1, not "-1"',
        '  --log-level must be one of debug, info, warning, error, not "x"',
    ]


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError, match=r"configuration file nowhere\.toml: No such file"):
        load_settings("nowhere.toml", {}, {})
    with pytest.raises(ConfigError, match="is not a regular file"):
        load_settings(".", {}, {})
    Path("latin.toml").write_bytes(b'tag = "\xe4"')
    with pytest.raises(ConfigError, match=r"latin\.toml is not UTF-8 text"):
        load_settings("latin.toml", {}, {})
    Path("deep.toml").write_text("tag = " + "[" * 5000, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"deep\.toml is"):
        load_settings("deep.toml", {}, {})


@given(st.dictionaries(st.sampled_from([one.name for one in SETTINGS]), st.text(max_size=30)))
def test_any_text_is_taken_or_refused_with_a_reason(flags: dict[str, object]) -> None:
    reading = read(None, {}, flags)
    assert len(reading.wrong) <= len(reading.problems)
    assert all(getattr(Config(), name) == getattr(reading.config, name) for name in reading.wrong)


def test_passwords_are_never_shown() -> None:
    secret = "geh@im/1"
    for url in (
        f"redis://user:{secret}@db:6379/0",
        f"redis://:{secret}@db/0",
        f"http://user:{secret}@db",
        f"redis+sentinel://{secret}@a:1,b:2/main/0",
        f"unix:///run/redis.sock?password={secret}",
    ):
        config = Config(redis=url)
        assert secret not in repr(config)
        assert secret not in config.redacted().redis
        assert secret not in repr(read(None, {}, {"redis": url}))
    assert "user" in Config(redis="redis://user:x@db/0").redacted().redis


def test_a_home_that_does_not_exist_is_an_ordinary_name(tmp_path: Path) -> None:
    assert load("pidfile = '~0/a.pid'").pidfile == str(tmp_path / "~0/a.pid")
    assert load("directory = '~0'").directory == str(tmp_path / "~0")


@pytest.mark.parametrize("text", ["true", "True", " yes ", "1"])
def test_a_switch_is_true_or_false(text: str) -> None:
    variable = "JOBD_EXIT_ON_CRASH_LOOP"
    assert load("exit_on_crash_loop = true").exit_on_crash_loop is True
    assert load("", {variable: text}).exit_on_crash_loop is True
    assert load("", {variable: "true"}, {"exit_on_crash_loop": False}).exit_on_crash_loop is False
    assert load("exit_on_crash_loop = true", {variable: "no"}).exit_on_crash_loop is False


@pytest.mark.parametrize("name", ["timeout", "concurrency"])
def test_space_around_a_number_is_accepted_and_control_characters_are_not(name: str) -> None:
    variable = f"JOBD_{name.upper()}"
    assert getattr(load("", {variable: " 7\r\n"}), name) == 7
    for text in ("7\x1f", "\x1c7", "7\x0b"):
        with pytest.raises(ConfigError, match="must be a"):
            load("", {variable: text})


def test_sentinel_addresses_are_accepted() -> None:
    url = "redis+sentinel://a:26379,b:26379/main/0"
    assert load("", {}, {"redis": url}).redis == url


def test_paths_do_not_depend_on_where_the_daemon_works_later(tmp_path: Path) -> None:
    config = load("pidfile = 'run/a.pid'\nlogfile = '/var/log/x'")
    assert (config.pidfile, config.logfile) == (str(tmp_path / "run/a.pid"), "/var/log/x")
    config = load("pidfile = 'a.pid'\ndirectory = 'app'")
    assert config.directory == str(tmp_path / "app")
    assert config.pidfile == str(tmp_path / "app/a.pid")


def test_the_file_is_found_in_a_fixed_order(tmp_path: Path) -> None:
    assert find_file(None, {}) is None
    Path("jobd.toml").touch()
    assert find_file(None, {}) == "jobd.toml"
    assert find_file(None, {"JOBD_CONFIG": "other.toml"}) == "other.toml"
    assert find_file("given.toml", {"JOBD_CONFIG": "other.toml"}) == "given.toml"


def test_the_config_is_cheap_to_import() -> None:
    code = (
        "import sys, jobd.settings.daemon, jobd.settings.load\n"
        "print([m for m in ('redis', 'structlog', 'click', 'psutil') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "[]"


def test_the_shipped_file_holds_every_setting_and_exactly_the_defaults() -> None:
    text = (ROOT / reference.TOML).read_text(encoding="utf-8")
    assert text == reference.toml(), "run `python -m jobd.settings.reference`"
    assert tomllib.loads(text) == {}
    uncommented = re.sub(r"(?m)^#(?! )(?=[a-z_]+ = |\[web\]$)", "", text)
    found = tomllib.loads(uncommented)
    assert set(found.pop("web")) == {one.name for one in WEB_SETTINGS}
    assert set(found) == {one.name for one in SETTINGS}
    assert load(uncommented) == Config()
    assert load_web("jobd.toml", {}, {}, "production") == WebConfig()
    for one in (*SETTINGS, *WEB_SETTINGS):
        assert one.help
        assert one.help in text
        assert f"{one.name} = {reference.literal(one)}\n" in text
        assert one.unit in text


def test_the_manual_agrees_with_the_settings() -> None:
    text = (ROOT / reference.MANUAL).read_text(encoding="utf-8")
    assert text == reference.manual(text), "run `python -m jobd.settings.reference`"
    assert all(f"| `{one.name}` |" in text for one in (*SETTINGS, *WEB_SETTINGS))


def test_the_manuals_example_file_is_right() -> None:
    text = (ROOT / reference.MANUAL).read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    config = load(example, {"JOBD_ENV": "production"})
    assert (config.log_format, config.queue_mode) == ("json", "weighted")
