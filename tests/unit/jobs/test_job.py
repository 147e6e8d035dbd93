"""``@job`` and ``Job``: options, names, checks, and running a call in place."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobd
import jobd.public
from jobd import (
    DISCARD,
    App,
    ArgumentError,
    CurrentJob,
    Job,
    JobdError,
    UnknownJobError,
    configure,
    current_job,
    job,
)
from jobd.jobs.app import default
from jobd.testing import EmbeddedServer

Next = Callable[[], Any]


@pytest.fixture(autouse=True)
def pushed(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    """Pushes go to the empty test server."""
    configure(server.url)


def queued(redis: redis_py.Redis, queue: str = "default") -> list[dict[str, Any]]:
    """The payloads in *queue*, next one first."""
    found: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(raw) for raw in found][::-1]


@job
def add(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


def later(count: int, error: Exception, payload: dict[str, Any]) -> int:
    return count


@job(
    queue="mail",
    retry=5,
    name="Mailer::Send",
    dead=False,
    backtrace=10,
    retry_queue="slow",
    retry_for=timedelta(hours=1),
    retry_in=later,
    on_exhausted=lambda payload, error: DISCARD,
    tags=("a", "b"),
    extra={"locale": "de"},
)
def send(*recipients: str, subject: str) -> None: ...


@job
async def shout(text: str) -> str:
    return text.upper()


class Resize(Job, queue="images", retry=False):
    """Resizes."""

    def __init__(self) -> None:
        self.calls = 0

    def perform(self, path: str, width: int = 640) -> list[Any]:
        self.calls += 1
        return [path, width, self.calls]


class Archive(Job, queue="bulk", retry=3, tags=["slow"]):
    """Options only."""


class Zip(Archive, retry=4, name="Zipper"):
    def perform(self) -> str:
        return current_job().jid


class Crawl(Job):
    async def perform(self, url: str) -> str:
        return url[::-1]


# --- definitions --------------------------------------------------------------------------------


def test_a_job_is_still_the_function() -> None:
    assert add(1) == 3
    assert add.__name__ == "add"
    assert add.__doc__ == "Adds."
    assert repr(add) == "<job tests.unit.jobs.test_job.add>"


def test_default_options() -> None:
    definition = default.registry.lookup("tests.unit.jobs.test_job.add")
    assert definition.options == {"retry": True, "queue": "default"}
    assert (definition.retry_in, definition.on_exhausted) == (None, None)
    assert definition.function(1, b=5) == 6
    assert definition in default.registry.all()


def test_all_options_travel_in_the_payload(redis: redis_py.Redis) -> None:
    jid = send.perform_async("x@example.com", subject="hi")
    [payload] = queued(redis, "mail")
    created, enqueued = payload.pop("created_at"), payload.pop("enqueued_at")
    assert type(created) is type(enqueued) is float
    assert payload == {
        "retry": 5,
        "queue": "mail",
        "dead": False,
        "backtrace": 10,
        "retry_queue": "slow",
        "retry_for": 3600,
        "tags": ["a", "b"],
        "locale": "de",
        "args": ["x@example.com"],
        "class": "Mailer::Send",
        "kwargs": {"subject": "hi"},
        "jid": jid,
    }
    assert list(payload)[:2] == ["retry", "queue"]
    definition = default.registry.lookup("Mailer::Send")
    assert definition.retry_in is later
    assert definition.on_exhausted is not None


def test_classes(redis: redis_py.Redis) -> None:
    Resize.perform_async("a.png", width=5)
    [payload] = queued(redis, "images")
    assert (payload["class"], payload["retry"]) == ("tests.unit.jobs.test_job.Resize", False)
    assert (payload["args"], payload["kwargs"]) == (["a.png"], {"width": 5})
    definition = default.registry.lookup("tests.unit.jobs.test_job.Resize")
    assert definition.function("b.png") == ["b.png", 640, 1]
    assert definition.function("b.png") == ["b.png", 640, 1], "every call makes an instance"


def test_class_options_are_inherited() -> None:
    definition = default.registry.lookup("Zipper")
    assert definition.options == {"retry": 4, "queue": "bulk", "tags": ["slow"]}
    with pytest.raises(UnknownJobError):
        default.registry.lookup("tests.unit.jobs.test_job.Archive")
    with pytest.raises(ArgumentError, match="Archive has no perform method"):
        Archive.perform_async()  # type: ignore[arg-type]


def test_unknown_job_says_what_to_do() -> None:
    with pytest.raises(UnknownJobError, match="import the module that defines it"):
        default.registry.lookup("Nope")


def test_a_name_belongs_to_one_job() -> None:
    with pytest.raises(ArgumentError, match="two jobs have the name 'Mailer::Send'"):

        @job(name="Mailer::Send")
        def other() -> None: ...


def test_the_same_code_may_be_imported_again() -> None:
    def define() -> Any:
        @job(name="Twice")
        def twice() -> None: ...

        return twice

    define()
    define()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue": "a b"}, "test_bad_options.<locals>.f: queue: queue 'a b' cannot be shown"),
        ({"queue": ""}, "queue must be a non-empty string"),
        ({"retry": -1}, "retry must be True, False or a number of at least 0, not -1"),
        ({"retry": 1.5}, "retry must be True, False or a number of at least 0, not 1.5"),
        ({"tags": "mail"}, "tags must be a list of strings, not 'mail'"),
        ({"retry_for": 0}, "retry_for must be a number of seconds above 0"),
        ({"retry_for": timedelta(days=20_000)}, "up to 1,000,000,000"),
        ({"backtrace": "all"}, "backtrace must be True, False or a number"),
        ({"retry_in": 60}, "retry_in must be a function, not 60"),
        ({"on_exhausted": []}, "on_exhausted must be a function"),
        ({"name": ""}, "name must be a non-empty string"),
        ({"jid": "x"}, "'jid' is not an option"),
        ({"at": 60}, "'at' is not an option: use perform_at"),
        ({"extra": {"anything": {1}}}, "option anything is of type set"),
        ({"extra": {5: 1}}, "option 5 must have a string as its name"),
        ({"extra": "tenant"}, "extra must be a dict of payload fields, not 'tenant'"),
        ({"extra": {"queue": "low"}}, "extra is for fields that jobd does not know, and 'queue'"),
        ({"extra": {"timeout": 2}}, "and 'timeout' is not one of them"),
        ({"extra": {"jid": "x"}}, "and 'jid' is not one of them"),
        ({"tenant": "acme"}, "'tenant' is not an option. A field of your own goes into extra="),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    def f() -> None: ...

    with pytest.raises(ArgumentError) as refused:
        job(**options)(f)
    assert message in str(refused.value)


MISSPELT = {
    "queu": "queue",
    "qeueu": "queue",
    "Queue": "queue",
    "queue_name": "queue",
    "rety": "retry",
    "retires": "retry",
    "retries": "retry",
    "max_retries": "retry",
    "retry_backoff": "retry_in",
    "time_limit": "timeout",
    "job_timeout": "timeout",
    "on_failure": "on_exhausted",
    "retry-for": "retry_for",
    "retryqueue": "retry_queue",
    "back_trace": "backtrace",
    "ded": "dead",
    "tag": "tags",
    "timout": "timeout",
    "exhausted": "on_exhausted",
    "extras": "extra",
}


@pytest.mark.parametrize(("wrong", "right"), MISSPELT.items())
def test_misspelt_options(wrong: str, right: str, redis: redis_py.Redis) -> None:
    """In every place that takes their names."""

    def define() -> None:
        class Misspelt(Job, name="Misspelt", **{wrong: "x"}):
            def perform(self) -> None: ...

    item = {"class": "A", "args": [], wrong: "x"}
    places: list[Callable[[], Any]] = [
        lambda: job(**{wrong: "x"})(later),  # type: ignore[call-overload]
        lambda: add.set(**{wrong: "x"}),  # type: ignore[arg-type]
        lambda: Resize.set(**{wrong: "x"}),  # type: ignore[arg-type]
        define,
        lambda: default.client.push(item),
        lambda: default.client.push_bulk({**item, "args": [[]]}),
    ]
    for place in places:
        with pytest.raises(ArgumentError, match=f"'{wrong}' is not .*did you mean '{right}'"):
            place()
    assert redis.keys() == []


def test_a_slip_in_what_only_an_item_has() -> None:
    item = {"class": "A", "args": [[]], "spred": 60}
    with pytest.raises(ArgumentError, match=r"'spred' is not .*did you mean 'spread_interval'"):
        default.client.push_bulk(item)


@pytest.mark.parametrize("name", ["countdown", "eta", "delay", "wait", "wait_until", "run_at"])
def test_the_time_of_a_push_under_its_name_elsewhere(name: str, redis: redis_py.Redis) -> None:
    """Taken for a field of the application, it would let the job run at once."""
    for push in (
        lambda: job(**{name: 60})(later),  # type: ignore[call-overload]
        lambda: add.set(**{name: 60}),  # type: ignore[arg-type]
        lambda: default.client.push({"class": "A", "args": [], name: 60}),
        lambda: default.client.push_bulk({"class": "A", "args": [[]], name: 60}),
    ):
        with pytest.raises(ArgumentError, match=f"'{name}' is not .*perform_in .*'at' of the item"):
            push()
    assert redis.keys() == []
    default.client.push({"class": "A", "args": [], "extra": {name: 60}})
    assert queued(redis)[0][name] == 60


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("lock", "use unique=True"),
        ("result_ttl", "use keep_result=SECONDS"),
        ("depends_on", "use a workflow, see docs/workflows.md"),
        ("autoretry_for", "every exception is retried, unless retry_in returns KILL or DISCARD"),
        ("acks_late", "a job is always kept until it has ended"),
    ],
)
def test_options_that_have_another_name_here(name: str, instead: str) -> None:
    with pytest.raises(ArgumentError, match=f"'{name}' is not an option; {instead}"):
        Resize.set(**{name: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "why"),
    {
        "priority": "jobs have no priority, but queues can",
        "rate_limit": "rate limits are not supported",
    }.items(),
)
def test_options_for_what_jobd_does_not_do(name: str, why: str) -> None:
    for place in (
        lambda: job(**{name: 5})(later),  # type: ignore[call-overload]
        lambda: Resize.set(**{name: 5}),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentError) as refused:
            place()
        assert f"'{name}' is not an option: {why}; see docs/limits.md" in str(refused.value)
        assert "A field of your own goes into extra=" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("queue", "mail"),
        ("retry", 5),
        ("retry", False),
        ("timeout", timedelta(seconds=5)),
        ("name", "Invoice"),
        ("tags", ["billing"]),
        ("extra", {"tenant": "acme"}),
        ("retry_in", lambda self, count, error, payload: 60),
        ("on_exhausted", staticmethod(print)),
    ],
)
def test_options_in_the_body_of_a_class(name: str, value: Any) -> None:
    """They look as if they had an effect, so each is refused where it is written."""
    before = default.registry.all()
    with pytest.raises(ArgumentError, match=rf"'{name}' has no effect .*\(Job, {name}=\.\.\.\)"):
        type("Bodily", (Job,), {name: value, "__module__": __name__, "perform": lambda self: None})
    assert default.registry.all() == before


def test_methods_may_be_called_like_an_option() -> None:
    class Named(Job, name="Named", queue="low"):
        def queue(self) -> str:
            return "mine"

        @property
        def timeout(self) -> int:
            return 5

        def perform(self) -> str:
            return f"{self.queue()} {self.timeout}"

    assert Named.perform_inline() == "mine 5"
    assert default.registry.lookup("Named").options["queue"] == "low"


@pytest.mark.parametrize(
    ("pushing", "advice"),
    [
        (lambda: add.delay, True),  # type: ignore[attr-defined]
        (lambda: add.set(queue="low").apply_async, True),  # type: ignore[attr-defined]
        (lambda: add.enqueue, True),  # type: ignore[attr-defined]
        (lambda: add.jid, False),  # type: ignore[attr-defined]
    ],
)
def test_a_push_under_its_name_elsewhere(pushing: Callable[[], Any], advice: bool) -> None:
    with pytest.raises(AttributeError, match="object has no attribute") as refused:
        pushing()
    assert ("use perform_async" in str(refused.value)) is advice
    assert not hasattr(add, "delay")


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (add, "retry", "; raise Retry(after=SECONDS)"),
        (add, "apply", "; use perform_inline, or call it"),
        (add, "chunks", "; use perform_bulk, or a group"),
        (add, "request", "; use current_job()"),
        (jobd.Result("1"), "status", "; use state"),
        (jobd.Result("1"), "ready", '; compare state, as in state == "done"'),
        (jobd.Result("1"), "revoke", "; use jobd.cancel(jid)"),
        (jobd.Result("1"), "nothing", ""),
    ],
)
def test_a_name_of_other_tools(owner: object, name: str, instead: str) -> None:
    with pytest.raises(AttributeError) as refused:
        getattr(owner, name)
    kind = type(owner).__name__
    assert str(refused.value) == f"{kind!r} object has no attribute {name!r}{instead}"


@pytest.mark.parametrize("name", ["name", "timeout", "retry_in", "on_exhausted"])
def test_what_one_call_cannot_change(name: str, redis: redis_py.Redis) -> None:
    for push in (
        lambda: add.set(**{name: 2}),  # type: ignore[arg-type]
        lambda: Resize.set(**{name: 2}),  # type: ignore[arg-type]
        lambda: default.client.push({"class": "A", "args": [], name: 2}),
        lambda: default.client.push_bulk({"class": "A", "args": [[]], name: 2}),
    ):
        with pytest.raises(ArgumentError, match=f"'{name}' cannot be given here: .*to @job"):
            push()
    assert redis.keys() == []


def test_extras_travel_with_every_kind_of_push(redis: redis_py.Redis) -> None:
    extra = {"tenant": "acme", "queu": "odd, but meant", "note": None}
    add.set(extra=extra).perform_async(1)
    default.client.push({"class": "A", "args": [], "extra": extra, "lock": "until_executed"})
    default.client.push_bulk({"class": "A", "args": [[]], "extra": extra})
    first, second, third = queued(redis)
    for payload in (first, second, third):
        assert {key: payload[key] for key in extra} == extra
        assert "extra" not in payload
    assert second["lock"] == "until_executed"


def test_extras_are_inherited() -> None:
    class Tenant(Job, extra={"tenant": "a", "plan": 1}):
        """Options only."""

    class Bill(Tenant, name="Tenant.Bill", extra={"tenant": "b"}):
        def perform(self) -> None: ...

    options = default.registry.lookup("Tenant.Bill").options
    assert (options["tenant"], options["plan"]) == ("b", 1)


RUBYS = (
    "wrapped display_class cattr cattr_1 locale profile profiler_options log_level encrypt bid id "
    "tid overrated expiry lock lock_args lock_digest "
    "lock_timeout lock_ttl lock_limit unique_digest unique_args status_expiration "
    "traceparent cron trace_propagation_headers apartment original_queue queued_at priority "
    "user_id _aj_symbol_keys"
)


def test_fields_of_sidekiq_and_of_its_gems_pass(redis: redis_py.Redis) -> None:
    fields = dict.fromkeys(RUBYS.split(), 7)
    default.client.push({"class": "A", "args": [], **fields})
    [payload] = queued(redis)
    assert {key: payload[key] for key in fields} == fields


class Holder:
    def method(self) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def alone() -> None: ...


def undisguised(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    return call


def nested() -> Callable[..., Any]:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Holder.method, r"Holder\.method is a method, and a worker has no object"),
        (Holder.alone, r"Holder\.alone is a method"),
        (Holder().method, "@job decorates a function, not <bound method"),
        (Holder.of_class, "@job decorates a function, not <bound method"),
        (Holder.__dict__["of_class"], "@job decorates a function, not <classmethod"),
        (Holder.__dict__["alone"], "@job decorates a function, not <staticmethod"),
        (functools.partial(later, 1), "@job decorates a function, not functools.partial"),
        (
            lambda: None,
            "<lambda> is a lambda, so a worker that imports tests.unit.jobs.test_job would",
        ),
        (next(lambda: None for _ in "1"), r"<lambda> is a lambda, so a worker"),
        (nested(), r"inner is defined inside nested\(\), so a worker .* give it a name="),
        (undisguised(later), r"call is defined inside undisguised\(\).*use functools\.wraps"),
        (dict, "@job decorates a function, not <class 'dict'>"),
        (Holder(), "@job decorates a function, not <tests"),
        (5, "@job decorates a function, not 5"),
    ],
)
def test_what_no_worker_could_call_is_refused_where_it_is_written(target: Any, why: str) -> None:
    before = default.registry.all()
    for decorate in (job, job(queue="low")):
        with pytest.raises(ArgumentError, match=why) as refused:
            decorate(target)
        assert "a subclass of Job" in str(refused.value)
    assert default.registry.all() == before


def test_a_class_inside_a_function_is_refused_too() -> None:
    with pytest.raises(ArgumentError, match=r"Hidden is defined inside .*would not find it"):

        class Hidden(Job):
            def perform(self) -> None: ...


def test_a_module_may_make_its_jobs_by_a_function() -> None:
    """Whenever it is imported; their names say that it means it."""

    def make(name: str) -> Any:
        @job(name=name)
        def made() -> str:
            return name

        return made

    assert make("made.one").name == "made.one"

    @job(name="made.wrapped")
    @functools.wraps(later)
    def wrapper(*args: Any) -> Any: ...

    assert default.registry.lookup("made.wrapped").origin.endswith("test_job.later")


def test_bad_shapes() -> None:
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(ArgumentError, match="is a generator: calling it would run none"):
        job(generator)


@pytest.mark.parametrize(
    "perform",
    [5, staticmethod(lambda path: path), classmethod(lambda cls, path: path), lambda: None],
)
def test_perform_takes_the_instance(perform: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Static\.perform must be a method, with self"):
        type("Static", (Job,), {"perform": perform, "__module__": __name__})


def test_perform_may_take_everything_together() -> None:
    class Together(Job, name="Together"):
        def perform(*args: Any) -> list[Any]:
            return list(args[1:])

    assert Together.perform_inline(1, 2) == [1, 2]


def test_an_instance_is_made_without_arguments() -> None:
    before = default.registry.all()
    with pytest.raises(ArgumentError, match=r"Eager: .* its __init__ requires some .*'path'"):

        class Eager(Job, name="Eager"):
            def __init__(self, path: str) -> None: ...

            def perform(self) -> None: ...

    assert default.registry.all() == before

    class Ready(Job, name="Ready"):
        def __init__(self, path: str = "x") -> None:
            self.path = path

        def perform(self) -> str:
            return self.path

    assert Ready.perform_inline() == "x"


def test_options_without_a_name() -> None:
    for decorate in (job, job(retry=5)):
        with pytest.raises(ArgumentError, match=r"not 'mail'; .* as in @job\(queue='mail'\)"):
            decorate("mail")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("unknown", "instead"),
    [
        ("test_job.add", "'tests.unit.jobs.test_job.add' is registered"),
        ("tests.unit.jobs.test_job.resise", "'tests.unit.jobs.test_job.Resize' is registered"),
        ("Invoice", ""),
        ("x" * 100_000, ""),
    ],
)
def test_what_is_registered_instead(unknown: str, instead: str) -> None:
    app = App()  # others register jobs in the default one
    for known in ("add", "Resize"):
        app.job(name=f"{__name__}.{known}")(lambda: None)
    with pytest.raises(UnknownJobError) as refused:
        app.registry.lookup(unknown)
    assert str(refused.value).endswith(f"; {instead}" if instead else "name=...")


def test_an_item_with_the_job_instead_of_its_name() -> None:
    for what in (add, Resize):
        with pytest.raises(
            ArgumentError, match=r"the name of a job, not .*; use its perform_async"
        ):
            default.client.push({"class": what, "args": []})


def test_retry_for_is_whole_seconds() -> None:
    @job(name="Patient", retry_for=1.2)
    def patient() -> None: ...

    assert default.registry.lookup(patient.name).options["retry_for"] == 2


MAIN = """
from jobd import job, Job

@job
def work(): ...

class Works(Job):
    def perform(self): ...

from jobd.jobs.app import default
print(*[each.name for each in default.registry.all()])
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        (["app.py"], "app"),
        (["-m", "app"], "app"),
        (["-m", "package.tasks"], "package.tasks"),
        (["-c", MAIN], "__main__"),
    ],
)
def test_names_in_a_main_module(tmp_path: Path, command: list[str], module: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "app.py").write_text(MAIN)
    (tmp_path / "package" / "tasks.py").write_text(MAIN)
    run = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [f"{module}.Works", f"{module}.work"]


# --- pushing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add.perform_async(), "missing a required argument: 'a'"),  # type: ignore[call-arg]
        (lambda: add.perform_async(1, 2, 3), "too many positional arguments"),  # type: ignore[call-arg]
        (lambda: add.perform_async(1, c=3), "unexpected keyword argument 'c'"),  # type: ignore[call-arg]
        (lambda: add.perform_async(1, a=1), "multiple values for argument 'a'"),  # type: ignore[misc]
        (lambda: add.perform_bulk([[1], []]), "missing a required argument: 'a'"),
        (lambda: add.perform_in(5), "missing a required argument: 'a'"),  # type: ignore[call-arg]
        (lambda: add.perform_inline(), "missing a required argument: 'a'"),  # type: ignore[call-arg]
        (lambda: send.perform_async("x"), "missing a required"),  # type: ignore[call-arg]
        (lambda: Resize.perform_async(), "missing a required argument: 'path'"),  # type: ignore[call-arg]
        (lambda: Resize.perform_async("a", 2, 3), "too many positional"),  # type: ignore[call-arg]
        (lambda: add.perform_async({1}), "argument a is of type set"),  # type: ignore[arg-type]
        (lambda: add.perform_async(1, b=(1,)), "argument b is of type tuple"),  # type: ignore[arg-type]
        (lambda: add.perform_inline(b"x"), "argument a is of type bytes"),  # type: ignore[arg-type]
        (lambda: add.perform_async("x" * 2_000_000), "largest argument, a, takes"),  # type: ignore[arg-type]
        (lambda: add.perform_bulk([5]), "must be a list of arguments, not 5"),  # type: ignore[list-item]
        (lambda: add.perform_bulk(["ab"]), "must be a list of arguments, not 'ab'"),
        (lambda: add.set(queue="a b"), "test_job.add.set: queue: queue 'a b' cannot"),
    ],
)
def test_refusals(redis: redis_py.Redis, call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        call()
    assert message in str(refused.value)
    assert redis.keys() == []


def test_arity_of_a_call_is_told_with_the_signature() -> None:
    with pytest.raises(ArgumentError, match=r"add: missing .*; its signature is \(a: 'int', b: "):
        add.perform_async()  # type: ignore[call-arg]


def test_times(redis: redis_py.Redis) -> None:
    for push in (add.perform_in, add.perform_at):
        jid = push(60, 1)
        popped: Any = redis.zpopmin("schedule")
        [(raw, score)] = popped
        payload = json.loads(raw)
        assert payload["jid"] == jid
        assert 59.9 < score - payload["created_at"] <= 60
        assert not {"at", "enqueued_at"} & set(payload)
        push(-5, 1)
        assert len(queued(redis)) == 1
        redis.flushall()
    Resize.perform_in(timedelta(minutes=1), "a.png")
    Resize.perform_at(4_102_444_800, "b.png")
    last: Any = redis.zrange("schedule", 1, 1, withscores=True)
    assert last[0][1] == 4_102_444_800


def test_bulk(redis: redis_py.Redis) -> None:
    jids = add.perform_bulk([[1], (2, 3)])
    payloads = queued(redis)
    assert [each["args"] for each in payloads] == [[1], [2, 3]]
    assert [each["jid"] for each in payloads] == jids
    assert Resize.perform_bulk([]) == []


def test_set_changes_one_call(redis: redis_py.Redis) -> None:
    add.set(queue="high", retry=0, extra={"note": [1]}).perform_async(1)
    Resize.set(tags=["now"]).set(queue="high").perform_async("a.png")
    add.perform_async(2)
    high = queued(redis, "high")
    assert [(each["retry"], each.get("note"), each.get("tags")) for each in high] == [
        (0, [1], None),
        (False, None, ["now"]),
    ]
    [payload] = queued(redis)
    assert (payload["retry"], payload["args"]) == (True, [2])


# --- in place -----------------------------------------------------------------------------------


def test_inline_returns_the_result() -> None:
    assert add.perform_inline(1, b=5) == 6
    assert Resize.perform_inline("a.png") == ["a.png", 640, 1]
    assert shout.perform_inline("a") == "A"
    assert Crawl.perform_inline("ab") == "ba"
    assert len(Zip.perform_inline()) == 24


def test_inline_gives_the_job_copies() -> None:
    @job(name="Change")
    def change(items: list[int]) -> list[int]:
        items.append(1)
        return items

    mine: list[int] = []
    assert change.perform_inline(mine) == [1]
    assert mine == []


def test_inline_runs_both_chains() -> None:
    log: list[str] = []

    def client(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        log.append(f"client {name.rpartition('.')[2]} {queue}")
        payload["args"] = [10]
        return call_next()

    def server(current: CurrentJob, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        log.append(f"server {payload['args']} {current is current_job()} {current.attempt}")
        result = call_next()
        log.append(f"result {result}")
        return "ignored"

    app = App()
    app.client_middleware.add(client)
    app.server_middleware.add(server)
    assert app.job(add.__wrapped__).perform_inline(1) == 12
    assert log == ["client add default", "server [10] True 1", "result 12"]


def test_inline_stopped_by_middleware() -> None:
    def stop(*_: Any) -> None:
        return None

    for chain in ("server_middleware", "client_middleware"):
        app = App()
        getattr(app, chain).add(stop)
        assert app.job(add.__wrapped__).perform_inline(1) is None


def test_inline_errors_reach_the_caller() -> None:
    @job(name="Broken")
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken.perform_inline()
    with pytest.raises(JobdError):
        current_job()


def test_inline_async_inside_a_loop_says_what_to_do() -> None:
    @job(name="Outer")
    async def outer() -> None:
        shout.perform_inline("a")

    with pytest.raises(JobdError, match="await the function itself"):
        outer.perform_inline()


def test_the_names_of_the_package() -> None:
    """Those that ``import *`` brings are those that it has and that ``dir`` shows."""
    names: dict[str, object] = {}
    exec("from jobd import *", names)
    names.pop("__builtins__")
    assert sorted(names) == sorted(dir(jobd)) == sorted(jobd.public.__all__)
    assert all(names[name] is getattr(jobd, name) for name in names)
    with pytest.raises(AttributeError, match="module 'jobd' has no attribute 'perform_async'"):
        jobd.perform_async  # type: ignore[attr-defined]  # noqa: B018


def not_a_job() -> None:
    """Somebody forgot @job."""


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("shop.mails.welcome", "it would be in the module shop.mails, which is not imported here"),
        (
            f"{__name__}.ad",
            rf"the module {__name__} \(.*test_job\.py\) is imported, but has no ad; ",
        ),
        (f"{__name__}.not_a_job", "has a not_a_job, but not as a job of this name: check its @job"),
        ("sys.nothing", r"the module sys \(without a file\) is imported, but has no nothing"),
        ("Invoice", "import the module that defines it"),
        ("Billing::Invoice", "import the module that defines it"),
        ("a..b", "import the module that defines it"),
        (".b", "import the module that defines it"),
        (f"{'a' * 300}.b", "import the module that defines it"),
    ],
)
def test_an_unknown_job_names_where_it_would_be(name: str, where: str) -> None:
    with pytest.raises(UnknownJobError, match=where):
        App().registry.lookup(name)
