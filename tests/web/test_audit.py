"""Who did what, what can be undone, and the trash."""

from __future__ import annotations

import pytest

from jobd.api import Api
from jobd.web import Role
from tests.api.conftest import job, push, waiting
from tests.web.site import Site, as_role
from tests.web.test_busy import ONE, TWO, process
from tests.web.test_lists import failed, fill


def test_nobody_has_done_anything(site: Site) -> None:
    assert "Nothing has been changed" in site.get("/audit").text
    assert "The trash is empty" in site.get("/trash").text


def test_who_did_what_and_undo(site: Site, api: Api) -> None:
    fill(api, "dead", *(failed(n) for n in range(3)))
    api.acting_as("alice").dead.clear()
    api.acting_as("bob").queue("low").pause()
    page = site.get("/audit")
    assert page.text.index("bob paused queue low") < page.text.index("alice cleared dead jobs")
    assert page.links["dead jobs"].endswith("/dead")
    assert "Restored 3 jobs" in site.press(page, "Undo").text
    assert api.dead.size == 3
    assert not site.get("/audit").has_button("Undo")
    assert "admin restored dead jobs" in site.get("/audit").text


def test_only_a_deletion_offers_its_undo(site: Site, api: Api) -> None:
    alice, bob = api.acting_as("alice"), api.acting_as("bob")
    fill(api, "dead", failed(1), failed(2))
    assert alice.dead.sweep("delete", f"{1:024x}").run() == 1
    (deletion,) = api.trash
    # Of this, nothing is in the trash, though its id is.
    bob.acting_as("bob", trash=False).dead.sweep("delete", ref=deletion.ref).run()
    page = site.get("/audit")
    assert "bob" in page.text
    assert len(page.forms_with("Undo")) == 1


def test_every_action_is_told_in_words_and_only_jobs_are_counted(site: Site, api: Api) -> None:
    ann = api.acting_as("ann")
    process(api, ONE)
    process(api, TWO)
    push(api, "low", job(1), job(2))
    fill(api, "retries", failed(3))
    ann.queue("empty").pause()
    ann.queue("low").move_all("mail")
    ann.deploys.mark("retry")
    ann.processes[ONE].dump_threads()
    ann.processes.quiet_all()
    ann.reset_stats()
    ann.retries.replace(ann.retries.page().entries[0], {"args": [4]})
    told = [
        "paused queue empty –",
        "moved jobs of queue low to queue mail 2",
        "marked the deploy retry –",
        f"asked for the stacks of {ONE} –",
        "quieted 2 processes –",
        "set to zero the totals –",
        "edited retries 1",
    ]
    page = site.get("/audit")
    for words in told:
        assert f"ann {words}" in page.text
    assert "queue low" in page.links
    assert "retry" not in page.links, "it is the label of a deploy"


def test_older_entries_page_by_page(site: Site, api: Api) -> None:
    alice = api.acting_as("alice")
    for number in range(60):
        alice.queue(f"q{number}").pause()
    page, seen = site.get("/audit"), list[str]()
    for _ in range(3):
        seen += [text for text in page.links if text.startswith("queue q")]
        if "Older →" in page.links:
            page = site.get(page.links["Older →"])
    assert seen == [f"queue q{number}" for number in reversed(range(60))]
    assert site.look("/audit", before="nonsense").status == 400


def test_names_of_all_kinds_in_the_log(site: Site, api: Api) -> None:
    for who in ("<script>alert(1)</script>", "x" * 10_000, "\x00", "né"):
        api.acting_as(who).queue(who).pause()
        push(api, who, job(1))
        api.acting_as(who).queue(who).clear()
    for path in ("/audit", "/trash"):
        page = site.get(path)
        assert not [tag for tag, given in page.tags if tag == "script" and "src" not in given]
        assert len(page.html) < 60_000


def test_the_trash_shows_restores_and_purges(site: Site, api: Api) -> None:
    push(api, "default", *(job(n) for n in range(30)))
    alice = api.acting_as("alice")
    alice.queue("default").clear()
    page = site.get("/trash")
    assert "alice cleared queue default 30 in" in page.text
    inside = site.get(page.links["queue default"])
    assert "1–25 of 30" in inside.text
    assert "26–30 of 30" in site.get(inside.links["Next →"]).text
    site.press(inside, "Restore 30 jobs")
    assert waiting(api) == [job(n) for n in range(30)]
    assert site.look(page.links["queue default"]).status == 404
    alice.queue("default").clear()
    asked = site.press(site.get("/trash"), "Delete for good")
    assert "They cannot be restored" in asked.text
    assert api.trash.page().size == 1
    assert "Deleted 30 jobs for good" in site.press(asked, "Delete 30 jobs for good").text
    assert api.trash.page().size == 0
    assert "no longer in the trash" in site.press(asked, "Delete 30 jobs for good").text


@pytest.mark.parametrize(
    ("role", "buttons"), [(Role.VIEWER, 0), (Role.OPERATOR, 0), (Role.ADMIN, 1)]
)
def test_who_may_do_what(role: Role, buttons: int, api: Api) -> None:
    fill(api, "dead", failed(1))
    api.acting_as("alice").dead.clear()
    (deletion,) = api.trash
    site = as_role(api, role)
    page = site.get("/trash")
    inside = site.get("/trash/jobs", ref=deletion.ref)
    assert page.has_button("Restore") == inside.has_button("Restore 1 job") == bool(buttons)
    assert site.get("/audit").has_button("Undo") == bool(buttons)
    assert page.has_button("Delete for good") == bool(buttons)
    fields = [("ref", deletion.ref), ("sure", "1")]
    if not buttons:
        assert site.insist("/trash/purge", *fields).status == 403
    assert api.trash.page().size == 1
    assert site.insist("/undo", *fields).status == (200 if buttons else 403)
    assert api.dead.size == buttons


def test_an_operator_is_offered_no_undo(api: Api) -> None:
    """Nothing that he may do needs one, and what others took away is not his to bring back."""
    operator = as_role(api, Role.OPERATOR)
    fill(api, "dead", failed(1), failed(2))
    fill(api, "retries", failed(3))
    push(api, "mail", job(4))
    for path, button in (("/dead", "Retry now"), ("/retries", "Retry now")):
        page = operator.get(path)
        assert not operator.press(page, button, ("key", page.keys[0])).has_button("Undo")
    page = operator.get("/queue", name="mail")
    moved = operator.press(page, "Move", ("key", page.keys[0]), ("target", "low"))
    assert waiting(api, "low") == [job(4, queue="low")]
    assert not moved.has_button("Undo")
    assert api.trash.page().size == 0
    assert not operator.get("/audit").has_button("Undo")


def test_killed_jobs_that_were_retried_meanwhile_do_not_come_back(site: Site, api: Api) -> None:
    fill(api, "retries", failed(1), failed(2))
    found = site.get("/retries")
    chosen = [("key", key) for key in found.keys]
    done = site.press(site.press(found, "Kill", *chosen), "Kill 2 jobs")
    api.dead.retry(api.dead.page().entries[0])
    text = site.press(done, "Undo").text
    assert "Restored 1 job. Moved or run in the meantime: 1." in text
    assert api.retries.size == 1
