"""Edit and retry: forms from type hints, JSON, and what is refused."""

from __future__ import annotations

import json
import time
from enum import Enum
from typing import Any, Literal

import pytest

from jobd import App, Job
from jobd.api import Api
from jobd.web import Role
from tests.api.conftest import job as payload
from tests.web.site import TOKEN, Page, Site, as_role
from tests.web.test_busy import ONE, process

JID = f"{1:024x}"


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@pytest.fixture(autouse=True)
def jobs(api: Api) -> None:
    """Jobs that the dashboard knows."""
    app = api.app = App()

    @app.job(name="shop.charge")
    def charge(
        order: int,
        note: str,
        amount: float,
        urgent: bool,
        how: Literal["card", "cash"] = "card",
        lines: list[dict[str, int]] = [],  # noqa: B006 - a default that JSON has
        coupon: str | None = None,
        size: Size = Size.SMALL,
    ) -> None: ...

    @app.job(name="shop.anything")
    def anything(*args: Any) -> None: ...

    @app.job(name="shop.untyped")
    def untyped(first, second="x"): ...  # type: ignore[no-untyped-def]

    class Resize(Job, app=app, name="shop.Resize"):
        def perform(self, width: "int", *, path: "str") -> None: ...  # noqa: UP037


def put(api: Api, name: str, args: list[Any], **fields: Any) -> str:
    score = time.time() - 60
    api.redis.zadd(api.keys.dead, {payload(1, name, args=args, **fields): score})
    return f"{score!r}-{JID}"


def form(site: Site, key: str, **query: Any) -> Page:
    return site.get("/job/edit", set="dead", key=key, **query)


def types(page: Page) -> dict[str, str]:
    """The elements of the fields by their names."""
    return {
        given["name"]: tag
        for tag, given in page.tags
        if tag in ("input", "select", "textarea") and given.get("name", "").startswith("arg-")
    }


def values(page: Page) -> dict[str, str]:
    return {
        given["name"]: given["value"]
        for tag, given in page.tags
        if tag == "input" and given.get("type", "text") == "text" and "value" in given
    }


RIGHT = {
    "arg-order": "7",
    "arg-note": "hello",
    "arg-amount": "1.5",
    "arg-urgent": "true",
    "default-how": "1",
    "default-lines": "1",
    "default-coupon": "1",
    "default-size": "1",
    "queue": "default",
}


def run(site: Site, page: Page, fields: dict[str, str]) -> Page:
    return site.press(page, "Run with these", *fields.items())


def queued(api: Api, queue: str = "default") -> Any:
    (record,) = api.queue(queue).page()
    return record


def test_each_type_has_its_field(site: Site, api: Api) -> None:
    page = form(site, put(api, "shop.charge", [7, "hello", 1.5, True]))
    assert types(page) == {
        "arg-order": "input",
        "arg-note": "input",
        "arg-amount": "input",
        "arg-urgent": "select",
        "arg-how": "select",
        "arg-lines": "input",
        "arg-coupon": "input",
        "arg-size": "select",
    }
    found = values(page)
    assert (found["arg-order"], found["arg-note"], found["arg-amount"]) == ("7", "hello", "1.5")
    for words in (
        "int",
        "float",
        "Literal['card', 'cash']",
        "str | None",
        "leave out, which means",
    ):
        assert words in page.text, words


def test_what_was_typed_is_what_runs(site: Site, api: Api) -> None:
    key = put(api, "shop.charge", [7, "hello", 1.5, True], note="kept", retry_count=3)
    fields = {
        **RIGHT,
        "arg-order": "8",
        "arg-note": "line 1\r\nline 2",
        "arg-lines": '[{"a": 1}]',
        "arg-coupon": "",
        "null-coupon": "1",
        "arg-how": '"cash"',
        "queue": "low",
    }
    for name in ("how", "lines", "coupon"):
        del fields[f"default-{name}"]
    page = run(site, form(site, key), fields)
    assert "is in queue low with your changes" in page.text
    record = queued(api, "low")
    assert record.args == [8, "line 1\nline 2", 1.5, True, "cash", [{"a": 1}], None]
    assert record.kwargs == {}
    assert (record["note"], record["retry_count"]) == ("kept", 2)
    assert api.dead.size == 0
    (deletion,) = api.trash
    assert (deletion.action, deletion.jobs) == ("edit", 1)
    site.press(page, "Undo")
    assert api.dead.page().entries[0].args == [7, "hello", 1.5, True]
    assert api.queue("low").size == 0


def test_a_job_of_ruby_has_no_keyword_arguments(site: Site, api: Api) -> None:
    key = put(api, "HardWorker", [1])
    process(api, ONE)
    for ruby in (False, True):
        if ruby:
            process(api, ONE, info={"implementation": None})
            site = as_role(api, Role.ADMIN)
        page = form(site, key)
        assert ("Sidekiq runs it, in Ruby" in page.text) is ruby
        assert ("jobd web -r" in page.text) is not ruby
        assert ("Keyword arguments" in page.text) is not ruby
    page = run(site, page, {"args": "[2]", "queue": "default"})
    assert queued(api, "default").args == [2]
    assert "kwargs" not in queued(api, "default").item


def test_what_is_not_changed_keeps_its_bytes(site: Site, api: Api) -> None:
    """Ruby would not find it again otherwise."""
    raw = payload(1, "HardWorker", args=["N"]).replace(b'"N"', b"1.0e-05,1E+20")
    api.redis.zadd(api.keys.dead, {raw: 1.5})
    page = form(site, f"1.5-{JID}")
    run(site, page, {"args": "[0.00001, 1e20]", "queue": "low"})
    assert b'"args":[1.0e-05,1E+20]' in queued(api, "low").value


def test_what_runs_already_is_not_undone(site: Site, api: Api) -> None:
    page = run(site, form(site, put(api, "HardWorker", [1])), {"args": "[2]", "queue": "q"})
    worked: Any = api.redis.rpop(api.keys.queue("q"))
    undone = site.press(page, "Undo")
    assert "not in queue q any more: a worker has taken it" in undone.text
    assert (api.dead.size, api.queue("q").size) == (0, 0)
    (deletion,) = api.trash
    assert site.get("/audit").has_button("Undo")
    asked = site.client.post(
        "/api/v1/trash/restore",
        json={"ref": deletion.ref},
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    assert (asked.status_code, "a worker has taken it" in asked.json()["detail"]) == (409, True)
    api.redis.rpush(api.keys.queue("q"), worked)
    assert "Restored 1 job." in site.press(undone, "Restore").text
    assert (api.dead.size, api.queue("q").size) == (1, 0)


def test_untouched_values_stay_as_they_were(site: Site, api: Api) -> None:
    text = "a\r\nb\rc  "
    key = put(api, "shop.charge", [10**30, text, 1e300, False], kwargs={"coupon": "x"})
    page = form(site, key)
    shown = {name: value for name, value in values(page).items() if name.startswith("arg-")}
    fields = {
        **shown,
        "arg-note": text.replace("\r\n", "\n").replace("\n", "\r\n"),
        "arg-urgent": "false",
        **{f"default-{name}": "1" for name in ("how", "lines", "size")},
        "queue": "default",
    }
    run(site, page, fields)
    record = queued(api)
    assert record.args == [10**30, text, 1e300, False]
    assert record.kwargs == {"coupon": "x"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arg-order": "many"}, "enter a whole number"),
        ({"arg-order": ""}, "enter a whole number"),
        ({"arg-amount": "nan"}, "enter a number"),
        ({"arg-urgent": "maybe"}, "enter one of: true, false"),
        ({"arg-lines": "[1"}, "this is not JSON"),
        ({"arg-lines": '[{"a": "b"}]'}, "Expected `int`, got `str`"),
        ({"arg-lines": '{"a": 1}'}, "Expected `array`, got `object`"),
        ({"queue": "no good"}, "use only the letters"),
        ({"queue": ""}, "queue must be a non-empty string"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    site: Site, api: Api, changes: dict[str, str], message: str
) -> None:
    key = put(api, "shop.charge", [7, "hello", 1.5, True])
    fields = {**RIGHT, "arg-note": "typed with care", **changes}
    del fields["default-lines"]
    fields.setdefault("arg-lines", "[]")
    page = run(site, form(site, key), fields)
    assert page.status == 422
    assert message in page.text
    assert "typed with care" in page.html
    assert (api.dead.size, api.queues()) == (1, [])


def test_a_job_class_with_hints_as_text(site: Site, api: Api) -> None:
    key = put(api, "shop.Resize", [64], kwargs={"path": "cat.png"})
    page = run(site, form(site, key), {"arg-width": "x", "arg-path": "dog.png", "queue": "q"})
    assert "enter a whole number" in page.text
    run(site, page, {"arg-width": "65", "arg-path": "dog.png", "queue": "q"})
    assert (queued(api, "q").args, queued(api, "q").kwargs) == ([65], {"path": "dog.png"})


def test_without_hints_it_is_json_by_name(site: Site, api: Api) -> None:
    page = form(site, put(api, "shop.untyped", [{"a": [1]}]))
    fields = {"arg-first": '{"a": [2]}', "arg-second": '"y"', "queue": "q"}
    run(site, page, fields)
    assert queued(api, "q").args == [{"a": [2]}, "y"]


@pytest.mark.parametrize(
    ("name", "args", "note"),
    [
        ("HardWorker", [1, "two"], "does not know the job's code"),
        ("shop.anything", [1, "two"], "takes any arguments"),
        ("shop.untyped", [1, 2, 3], "do not fit shop.untyped"),
    ],
)
def test_json_where_there_is_no_form(
    site: Site, api: Api, name: str, args: list[Any], note: str
) -> None:
    page = form(site, put(api, name, args))
    assert note in page.text
    wrongs = (("{}", "it must be a list"), ("[1", "this is not JSON"), ("", "enter JSON"))
    for text, message in wrongs:
        wrong = run(site, page, {"args": text, "kwargs": "", "queue": "q"})
        assert (wrong.status, message in wrong.text) == (422, True)
    wrong = run(site, page, {"args": "[1]", "kwargs": "[]", "queue": "q"})
    assert "it must be an object" in wrong.text
    run(site, page, {"args": '[5, "six"]', "kwargs": "", "queue": "q"})
    assert queued(api, "q").args == [5, "six"]
    assert "kwargs" not in queued(api, "q").item


def test_json_must_fit_the_function_that_is_known(site: Site, api: Api) -> None:
    key = put(api, "shop.charge", [7, "hello", 1.5, True])
    page = form(site, key, json=1)
    wrong = run(site, page, {"args": "[7]", "kwargs": "", "queue": "q"})
    assert "missing a required argument: 'note'" in wrong.text
    run(site, page, {"args": '[7, "a", 1, true]', "kwargs": '{"coupon": "b"}', "queue": "q"})
    assert queued(api, "q").kwargs == {"coupon": "b"}


def test_encrypted_arguments_stay_and_are_not_shown(site: Site, api: Api) -> None:
    key = put(api, "shop.anything", [1, "SECRET"], encrypt=True, kwargs={"pin": "SECRET"})
    page = form(site, key)
    assert "SECRET" not in page.html
    assert "stay as they are" in page.text
    run(site, page, {"args": "[2]", "kwargs": '{"pin": 1}', "queue": "q"})
    assert (queued(api, "q").args, queued(api, "q").kwargs) == ([2, "SECRET"], {"pin": "SECRET"})


def test_somebody_else_was_faster(site: Site, api: Api) -> None:
    key = put(api, "HardWorker", [1])
    page = form(site, key)
    api.dead.clear()
    score = float(key.partition("-")[0])
    api.redis.zadd(api.keys.dead, {payload(1, "HardWorker", args=[2]): score})
    changed = run(site, page, {"args": "[3]", "kwargs": "", "queue": "q"})
    assert (changed.status, "has changed" in changed.text) == (404, True)
    api.dead.clear()
    assert run(site, page, {"args": "[3]", "kwargs": "", "queue": "q"}).status == 404
    assert api.queues() == []


def test_what_cannot_be_edited(site: Site, api: Api) -> None:
    api.redis.zadd(api.keys.dead, {b"no job": 5.0})
    (entry,) = api.dead.page()
    assert site.look("/job/edit", set="dead", key=entry.key).status == 400
    key = put(api, "HardWorker", ["x" * 600_000])
    large = site.look("/job/edit", set="dead", key=key)
    assert (large.status, "500,000 bytes" in large.text) == (400, True)
    assert site.look("/job/edit", set="queue:default", key="abc").status == 400


def test_a_job_without_a_class_can_be_given_its_arguments(site: Site, api: Api) -> None:
    raw = json.dumps({"class": "HardWorker", "jid": JID, "queue": "q"}).encode()
    api.redis.zadd(api.keys.dead, {raw: 5.0})
    page = form(site, f"5.0-{JID}")
    run(site, page, {"args": "[1]", "kwargs": "", "queue": "q"})
    assert queued(api, "q").args == [1]
