"""The pages of the workflows, and the same in ``/api/v1``."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.keeper.workflows import Workflows
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.web import Role
from jobd.web.views.graph import MOST_COLUMNS, drawing
from tests.support.workflows import NASTY, end, jobs_of, order
from tests.web.frame import TOKEN, bearer, browser, guarded
from tests.web.site import Site, as_role

PREFIX = "{app}:"


@pytest.fixture
def jobs(server: EmbeddedServer, api: Api) -> Any:
    assert api.redis.ping()
    return jobs_of(server.url, PREFIX)


def test_there_are_none(site: Site) -> None:
    assert "No workflows" in site.get("/workflows").text


def test_one_fails_is_tried_again_and_cancelled(
    site: Site, api: Api, jobs: Any, redis: redis_py.Redis
) -> None:
    ref = order(jobs)
    page = site.get("/workflows")
    assert NASTY in page.text
    assert "running" in page.text
    assert "0 of 6" in page.text
    page = site.get(f"/workflows/workflow?id={ref}")
    assert "shop.charge" in page.text
    assert not page.has_button("Retry failed steps")
    end(redis, PREFIX, "failed")
    page = site.get(f"/workflows/workflow?id={ref}")
    assert "ValueError: no money" in page.text
    assert "blocked" in page.text
    end(redis, PREFIX)  # what is told of the failure
    page = site.press(site.get(f"/workflows/workflow?id={ref}"), "Retry failed steps")
    assert "Pushed 1 step again." in page.text
    end(redis, PREFIX)
    assert api.workflows[ref].summary.done == 1
    page = site.press(site.get(f"/workflows/workflow?id={ref}"), "Cancel workflow")
    assert f"Cancel workflow {ref}?" in page.text
    assert api.workflows[ref].summary.state == "running"
    page = site.press(page, "Cancel workflow")
    assert "is cancelled" in page.text
    assert api.queue("default").size == 1, "the job that refunds"
    end(redis, PREFIX)
    assert api.workflows[ref].summary.state == "cancelled"
    told = site.get("/audit").text
    assert ref in told
    page = site.get(f"/workflows/workflow?id={ref}")
    assert not page.has_button("Cancel workflow")


def test_lines_lead_to_what_is_told_of_a_failure_and_to_what_undoes(
    site: Site, api: Api, jobs: Any, redis: redis_py.Redis
) -> None:
    ref = order(jobs)
    page = site.get(f"/workflows/workflow?id={ref}")
    assert not any("aside" in given.get("class", "") for _, given in page.tags), "unused"
    assert "· on_error" in page.text
    assert "· undo 0" in page.text
    end(redis, PREFIX)  # "charge" is done
    end(redis, PREFIX, "failed")  # one of "pack"
    drawn = drawing(api.workflows[ref].steps)
    assert drawn is not None
    [told] = [line for line in drawn.lines if line.aside]
    assert told.state == "failed"
    api.workflows.cancel(ref)
    end(redis, PREFIX, most=100)
    drawn = drawing(api.workflows[ref].steps)
    assert drawn is not None
    assert {line.state for line in drawn.lines if line.aside} == {"failed", "done"}
    page = site.get(f"/workflows/workflow?id={ref}")
    assert sum("aside" in given.get("class", "") for _, given in page.tags) == 2


def test_the_graph_has_a_box_for_each_step_and_one_for_many(
    site: Site, api: Api, jobs: Any
) -> None:
    small = drawing(api.workflows[order(jobs, "small")].steps)
    assert small is not None
    assert [box.title for box in small.boxes if box.joint] == ["pack"]
    assert len(small.boxes) == 7
    large = drawing(api.workflows[order(jobs, "large", wide=500)].steps)
    assert large is not None
    [many] = [box for box in large.boxes if box.count > 1]
    assert (many.count, many.done, many.title) == (500, 0, "shop.pack")
    assert len(large.boxes) == 5
    page = site.get("/workflows/workflow?id=large")
    assert sum(tag == "rect" and "rx" in given for tag, given in page.tags) >= 5
    assert "0 of 500" in page.text
    from jobd import chain

    ref = chain(jobs.pack.si(n) for n in range(MOST_COLUMNS + 1)).perform_async()
    assert drawing(api.workflows[str(ref)].steps) is None
    assert "too large to be drawn" in site.get(f"/workflows/workflow?id={ref}").text


def test_one_that_is_gone(site: Site) -> None:
    assert site.look("/workflows/workflow", id="gone").status == 404


def test_one_that_has_ended_meanwhile_is_not_called_cancelled(
    site: Site, api: Api, jobs: Any, redis: redis_py.Redis
) -> None:
    ref = order(jobs)
    question = site.press(site.get(f"/workflows/workflow?id={ref}"), "Cancel workflow")
    api.workflows.cancel(ref)
    end(redis, PREFIX)
    page = site.press(question, "Cancel workflow")
    assert f"Workflow {ref} has ended already." in page.text
    assert "is cancelled" not in page.text


def test_viewers_only_look(api: Api, jobs: Any) -> None:
    ref = order(jobs)
    page = as_role(api, Role.VIEWER).get(f"/workflows/workflow?id={ref}")
    assert not page.has_button("Cancel workflow")


def test_a_request_cancels_for_some_seconds_and_a_keeper_the_rest(
    site: Site, api: Api, jobs: Any, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.api.features.workflow_actions.CANCELLING", 0.0)
    ref = order(jobs, wide=600)
    end(redis, PREFIX)
    before = api.queue("default").size
    page = site.press(site.get(f"/workflows/workflow?id={ref}"), "Cancel workflow")
    page = site.press(page, "Cancel workflow")
    assert f"Workflow {ref} is cancelled." in page.text
    assert api.queue("default").size == before > 100, "no queue was looked at"
    Workflows(redis, Keys(PREFIX)).turn()
    end(redis, PREFIX, most=10)  # what undoes the first step
    assert (api.workflows[ref].summary.state, api.queue("default").size) == ("cancelled", 0)


def test_the_same_in_the_api(api: Api, jobs: Any, redis: redis_py.Redis) -> None:
    client = browser(guarded(api))
    client.headers.update(bearer(TOKEN))
    ref = order(jobs)
    [one] = client.get("/api/v1/workflows").json()
    assert (one["id"], one["name"], one["state"], one["size"]) == (ref, NASTY, "running", 6)
    end(redis, PREFIX, "failed")
    end(redis, PREFIX)
    found = client.get(f"/api/v1/workflow?id={ref}").json()
    assert found["workflow"]["state"] == "failed"
    assert found["steps"][0]["error"] == "ValueError: no money"
    told = client.post("/api/v1/workflow/retry", json={"id": ref})
    assert told.json() == {"changed": 1}
    assert client.post("/api/v1/workflow/cancel", json={"id": ref}).json() == {"changed": 1}
    assert client.post("/api/v1/workflow/retry", json={"id": ref}).status_code == 409
    assert client.post("/api/v1/workflow/cancel", json={"id": "gone"}).status_code == 404
