"""Every page of the dashboard, and every kind of part of it that somebody may look at."""

from __future__ import annotations

import re
from html import unescape

from benchmarks.load.backlog import NEEDLE, QUEUE, Sizes
from benchmarks.load.visitor import Visitor

_SETS = ("retries", "scheduled", "dead")
_READ = ("stats", "history", "queues", "processes", "work", "redis", "audit", "trash", "classes")
_LEFT = ("search", "find", "job of", "API", "health", "Prometheus")
"""Words in the names of pages that nobody leaves open."""

_ROW = re.compile(r'<a [^>]*?href="([^"]*/job\?[^"]*)"')


def addresses(visitor: Visitor, sizes: Sizes) -> dict[str, str]:
    """Every page by name, with its variants."""
    large, last = f"queue?name={QUEUE}", sizes.large - 25
    found = {
        "health": "healthz",
        "overview": "",
        "overview, 180 days": "?days=180",
        "busy": "busy",
        "busy, a host": "busy?host=web03.example.org",
        "busy, jobs": "busy?only=jobs",
        "busy, processes": "busy?only=processes",
        "busy, search": "busy?q=invoice",
        "queues": "queues",
        "queues, by latency": "queues?sort=latency",
        "queue, first page": large,
        "queue, middle": f"{large}&start={sizes.large // 2}",
        "queue, last page": f"{large}&start={last}",
        "queue, newest first": f"{large}&order=other",
        "queue, 100 jobs": f"{large}&count=100",
        "queue, search": f"{large}&q=invoice",
        "queue, search for one job": f"{large}&q={NEEDLE}",
        "queue, search without finds": f"{large}&q=nothinglikethis",
        "queue, search by tag": f"{large}&q=tag:vip",
    }
    for name in _SETS:
        found |= {
            f"{name}, first page": name,
            f"{name}, middle": f"{name}?start={sizes.set // 2}",
            f"{name}, last page": f"{name}?start={sizes.set - 25}",
            f"{name}, 100 jobs": f"{name}?count=100",
            f"{name}, search": f"{name}?q=invoice",
            f"{name}, search for one job": f"{name}?q={NEEDLE}",
            f"{name}, search without finds": f"{name}?q=nothinglikethis",
            f"{name}, search by tag": f"{name}?q=tag:vip",
        }
    found |= {
        "retries, groups": "retries/groups",
        "dead, groups": "dead/groups",
        "find, without finds": "find?jid=ffffffffffffffffffffffff",
        "metrics": "classes",
        "metrics, 8 hours": "classes?hours=8",
        "metrics, 72 hours": "classes?hours=72",
        "metrics of a class": "classes/one?name=shop.mail.send_invoice",
        "metrics of a class, 8 hours": "classes/one?name=shop.mail.send_invoice&hours=8",
        "audit": "audit",
        "trash": "trash",
        "for Prometheus": "metrics",
    }
    for name in _READ:
        found[f"API: {name}"] = f"api/v1/{name}"
    found |= {
        "API: jobs": f"api/v1/jobs?queue={QUEUE}&start={sizes.large // 2}&count=100",
        "API: retries": f"api/v1/sets/retries?start={sizes.set // 2}&count=100",
        "API: dead": "api/v1/sets/dead?count=100",
    }
    # The pages of jobs that are in these lists now.
    for name in ("busy, jobs", *(f"{each}, middle" for each in ("queue", *_SETS))):
        link = _ROW.search(visitor.get(found[name]).text)
        if link is None:
            raise RuntimeError(f"there is no job on the page {name}")
        found[f"job of {name}"] = address = unescape(link[1])
        if name.partition(",")[0] in _SETS:
            found[f"edit job of {name}"] = address.replace("/job?", "/job/edit?")
    return found


def stays_open(name: str) -> bool:
    """Whether it is one of the pages that people leave open."""
    return not any(word in name for word in _LEFT)
