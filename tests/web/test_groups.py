"""Failures grouped by what went wrong."""

from __future__ import annotations

import time

import pytest

from jobd.api import Api
from jobd.web import Role
from jobd.web.shared.grouping import Grouping
from tests.web.site import Site, as_role
from tests.web.test_lists import failed, fill

PLACES = {"retries": "shop/mail.py:12:in deliver", "dead": "shop/pay.py:88:in capture"}


@pytest.fixture(params=["retries", "dead"])
def page(request: pytest.FixtureRequest, api: Api) -> str:
    """A page whose set holds three kinds of failures."""
    name = str(request.param)
    mails = [
        failed(
            n,
            error_class="Net::Timeout",
            error_backtrace=["/usr/lib/python3.11/ssl.py:1:in x", f"shop/mail.py:{n}:in deliver"],
            failed_at=time.time() - 7200 - n,
            retried_at=time.time() - 60 - n,
        )
        for n in range(30)
    ]
    pays = [failed(n, error_message=f"order {n} has no price", name="Pay") for n in range(30, 40)]
    fill(api, name, *mails, *pays, failed(40, error_class="", error_message=""))
    return name


def test_the_groups(page: str, site: Site) -> None:
    found = site.get(f"/{page}/groups")
    assert found.text.index("Net::Timeout") < found.text.index("order # has no price")
    for text in ("shop/mail.py in deliver", "Bill × 30", "Pay × 10", "first 2 h", "last 1 min"):
        assert text in found.text
    assert "No error recorded" in found.text
    listed = site.get(found.links["Net::Timeout"])
    assert len(listed.keys) >= 25
    assert "30 of 41" in listed.text
    assert "Only jobs of one group of failures: Net::Timeout" in listed.text


def test_nothing_has_failed(site: Site) -> None:
    assert "No failures" in site.get("/retries/groups").text


def test_retrying_a_whole_group(page: str, site: Site, api: Api) -> None:
    asked = site.press(site.get(f"/{page}/groups"), "Retry now")
    assert "Retry 30 jobs that failed with Net::Timeout now?" in asked.text
    done = site.press(asked, "Retry 30 jobs now")
    assert "Put into their queues: 30 jobs." in done.text
    # Back on the groups, which are those of now.
    assert "order # has no price" in done.text
    assert "Net::Timeout" not in done.text
    assert api.queue("default").size == 30


def test_deleting_a_whole_group_and_undo(page: str, site: Site, api: Api) -> None:
    form = site.get(f"/{page}/groups").forms_with("Retry now")[1]
    fields = [*form.hidden, ("action", "delete")]
    done = site.press(site.send(form.action, fields), "Delete 10 jobs")
    assert getattr(api, page).size == 31
    site.press(done, "Undo")
    assert getattr(api, page).size == 41


def test_who_may_not_act_is_shown_no_button(page: str, api: Api) -> None:
    seen = as_role(api, Role.VIEWER).get(f"/{page}/groups")
    assert not seen.has_button("Retry now")
    assert "Net::Timeout" in seen.text


def test_a_hundred_thousand_are_grouped_a_little_further_each_time(api: Api) -> None:
    jobs = fill(api, "dead", *(failed(n, error_class=f"E{n % 60}") for n in range(3000)))
    grouping = Grouping()
    looks = [grouping.look(jobs, 0.0)]
    while not looks[-1].done:
        looks.append(grouping.look(jobs, 0.0))
    assert len(looks) > 3
    scanned = [look.scanned for look in looks]
    assert scanned == sorted(set(scanned))
    assert (looks[-1].scanned, looks[-1].size, looks[-1].more) == (3000, 3000, 10)
    assert {group.count for group in looks[-1].groups} == {50}
    # Fresh enough; and then what is known stays while it is made anew.
    jobs.clear()
    assert grouping.look(jobs, 0.0) == looks[-1]
    grouping.changed()
    assert grouping.look(jobs, 0.0).groups == ()


def test_the_page_goes_on_by_itself(site: Site, api: Api) -> None:
    fill(api, "dead", *(failed(n) for n in range(20_000)))
    page, looks = site.get("/dead/groups"), 1
    while "Go on" in page.links:
        page, looks = site.get(page.links["Go on"]), looks + 1
        assert looks < 100
    assert "Bill × 20,000" in page.text
    assert looks > 1
