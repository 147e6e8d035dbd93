"""Everything that people read on a page can be translated: a real dashboard speaks a language that
nobody speaks, and not a word of its pages is English."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest
import redis as redis_py
from jinja2 import Environment

from jobd.api import Api
from jobd.testing import EmbeddedServer
from jobd.web.access.users import hash_password
from tests.support import processes
from tests.web import pseudo
from tests.web.browser import worlds
from tests.web.browser.worlds import EVERYWHERE, OF_SHOP
from tests.web.serving import serving
from tests.web.site import Page

WEB = Path(__file__).parents[2] / "jobd/web"

DATA = "|".join(
    (
        r"\b(?:jobd|web[12](?::\d:\w\w)?|shop(?:\.\w+)?|default|mail|paused|old|alice|local)\b",
        r"\b(?:Ok|Bill|Net::ReadTimeout|ConnectionError|nothing|order|x|[0-9a-f]{24})\b",
        r"\b(?:class|error|tag|jid|queue|pattern):|'\w+'|\b(?:quiet|pause|retry)(?:, [a-z_]+)+",
    )
)
"""What is in the shop, and what somebody types, wherever it may stand."""

SPEAKING = {"accept-language": f"{pseudo.TAG}, en;q=0.5"}


_FORM = {"content-type": "application/x-www-form-urlencoded"}


class Spoken:
    """A dashboard that is read in that language.

    Attributes:
        known: what the addresses of its pages name.
    """

    def __init__(self, address: str, known: dict[str, Any]) -> None:
        self.known = known
        self.client = httpx2.Client(base_url=address, headers=SPEAKING, follow_redirects=True)

    def get(self, path: str) -> Page:
        known = {name: quote(str(value)) for name, value in self.known.items()}
        return self._looked_at(self.client.get(path.format(**known)))

    def send(self, path: str, *fields: tuple[str, str]) -> Page:
        """Send a form; what is asked or told then."""
        hidden = [field for form in self.get("/queue?name=x").forms for field in form.hidden]
        token = next(value for name, value in hidden if name == "csrf")
        content = urlencode([("csrf", token), *fields])
        return self._looked_at(self.client.post(path, content=content, headers=_FORM))

    def _looked_at(self, answer: httpx2.Response) -> Page:
        words = pseudo.untranslated(answer.text, DATA)
        assert not words, f"{answer.url}: {words} in {Page(answer).text}"
        assert answer.headers["content-language"] == pseudo.TAG
        assert "Accept-Language" in answer.headers["vary"]
        assert f'<html lang="{pseudo.TAG}">' in answer.text
        return Page(answer)


@contextmanager
def _world(
    directory: Path, make: Callable[[Api], dict[str, Any]], **settings: str
) -> Iterator[Spoken]:
    given = {"JOBD_WEB_TRANSLATIONS": str(pseudo.catalogue(directory / "languages")), **settings}
    with EmbeddedServer(tcp=True) as server:
        processes.servers.append(server)
        with redis_py.Redis.from_url(server.url, protocol=2) as redis:
            known = make(Api(redis))
        with serving(directory, settings={"JOBD_REDIS": server.url, **given}) as served:
            processes.kept.add(served.process.pid)
            spoken = Spoken(served.url.rstrip("/"), known)
            with spoken.client:
                yield spoken
            processes.kept.discard(served.process.pid)
        processes.servers.remove(server)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with _world(tmp_path_factory.mktemp("shop"), worlds.shop) as spoken:
        yield spoken


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with _world(tmp_path_factory.mktemp("empty"), worlds.empty) as spoken:
        yield spoken


@pytest.mark.parametrize("name", EVERYWHERE | OF_SHOP)
def test_a_page_of_a_shop(shop: Spoken, name: str) -> None:
    shop.get((EVERYWHERE | OF_SHOP)[name])


@pytest.mark.parametrize("name", worlds.WHERE_NOTHING_IS)
def test_a_page_of_nothing(empty: Spoken, name: str) -> None:
    empty.get(EVERYWHERE[name])


def test_what_somebody_is_asked_and_told(tmp_path: Path) -> None:
    """The question before each action, the message after it, and what is said of a mistake."""
    with _world(tmp_path, worlds.shop) as shop:
        for action, fields in ACTIONS:
            shop.send(action, *((name, value.format(**shop.known)) for name, value in fields))


SURE = ("sure", "1")

ACTIONS: list[tuple[str, list[tuple[str, str]]]] = [
    ("/queues/act", [("action", "pause"), ("name", "default")]),
    ("/queues/act", [("action", "resume"), ("name", "default")]),
    ("/queues/act", [("action", "dance"), ("name", "default")]),
    ("/queues/act", [("action", "clear"), ("name", "paused")]),
    ("/queues/act", [("action", "clear"), ("name", "paused"), SURE]),
    ("/queue/act", [("action", "delete"), ("name", "default")]),
    ("/queue/act", [("action", "delete"), ("name", "default"), ("key", "x")]),
    ("/queue/act", [("action", "delete"), ("name", "default"), ("key", "x~0123456789abcdef")]),
    (
        "/queue/act",
        [
            ("action", "move"),
            ("name", "default"),
            ("target", "mail"),
            ("key", "x~0123456789abcdef"),
            SURE,
        ],
    ),
    ("/retries/act", [("action", "delete")]),
    ("/retries/act", [("action", "dance")]),
    ("/retries/act", [("action", "delete"), ("all", "1")]),
    ("/retries/act", [("action", "kill"), ("all", "1"), ("q", "shop")]),
    ("/retries/act", [("action", "kill"), ("all", "1"), ("group", "{group}")]),
    ("/retries/act", [("action", "reschedule"), ("key", "{retry}")]),
    ("/retries/act", [("action", "reschedule"), ("key", "{retry}"), SURE]),
    ("/retries/act", [("action", "reschedule"), ("key", "{retry}"), ("kind", "at"), SURE]),
    ("/retries/act", [("action", "kill"), ("key", "{retry}"), ("key", "1.0-x"), SURE]),
    ("/retries/act", [("action", "retry"), ("all", "1"), SURE]),
    ("/scheduled/act", [("action", "add_to_queue"), ("key", "1.0-x")]),
    ("/dead/act", [("action", "delete"), ("all", "1"), SURE]),
    ("/job/do", [("set", "schedule"), ("key", "{schedule}"), ("action", "dance")]),
    ("/job/do", [("set", "schedule"), ("key", "{schedule}"), ("action", "move")]),
    ("/job/do", [("set", "schedule"), ("key", "{schedule}"), ("action", "reschedule")]),
    ("/job/do", [("set", "work"), ("key", "{running}"), ("action", "delete")]),
    ("/job/do", [("set", "schedule"), ("key", "{schedule}"), ("action", "add_to_queue")]),
    ("/job/edit", [("set", "schedule"), ("key", "{schedule}")]),
    ("/busy/do", [("do", "quiet"), ("identity", "all")]),
    ("/busy/do", [("do", "stop"), ("identity", "{one}")]),
    ("/busy/do", [("do", "dump"), ("identity", "{one}")]),
    ("/busy/do", [("do", "quiet"), ("identity", "nobody")]),
    ("/trash/purge", [("ref", "{ref}")]),
    ("/undo", [("ref", "{ref}")]),
    ("/undo", [("ref", "{ref}")]),
    ("/trash/purge", [("ref", "{ref}"), SURE]),
]
"""What is sent to the shop, in this order."""


def test_who_logs_in(tmp_path: Path) -> None:
    user = f"alice:admin:{hash_password('correct horse battery')}"
    with _world(tmp_path, worlds.empty, JOBD_WEB_USERS=user) as spoken:
        page = spoken.get("/login")
        wrong = spoken.send("/login", ("name", "alice"), ("password", "wrong"))
        assert page.text != wrong.text


@pytest.mark.parametrize(
    "template", sorted((WEB / "templates").iterdir()), ids=lambda one: one.name
)
def test_templates_have_no_words_of_their_own(template: Path) -> None:
    """In all of their branches, whether a page of the shop takes them or not."""
    tokens = Environment().lex(template.read_text())
    words = "".join(value for _, kind, value in tokens if kind == "data")
    assert pseudo.untranslated(words, rf"{DATA}|\b(?:UTC|h)\b|/s\b") == []


def test_a_word_that_is_not_translated_is_found() -> None:
    page = """<title>‹Queues› · jobd</title><p>‹Queue ⟦mail⟧ is paused›, ‹⟦3 min⟧ ago›</p>
<td translate="no">shop.charge</td><a title="%s" href="/queues">%s</a> ‹It is ⟦%s⟧›"""
    assert pseudo.untranslated(page % ("‹a›", "‹b›", "‹c›"), DATA) == []
    assert pseudo.untranslated(page % ("One", "two", "three"), DATA) == ["two", "three", "One"]


def test_what_code_says_can_be_translated() -> None:
    """Also what no test is told: refusals and messages are made of a Text, or of what somebody else
    has said."""
    wrong = [
        f"{source.name}:{node.lineno}"
        for source in [*WEB.glob("*.py"), *WEB.glob("pages/*.py")]
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call)
        and _SAYS.fullmatch(ast.unparse(node.func))
        and any(isinstance(given, ast.JoinedStr | ast.Constant | ast.BinOp) for given in node.args)
    ]
    assert wrong == []


_SAYS = re.compile(
    r"(?:Argument|Value)Error|Refusal|Forbidden|NotFound|Conflict|Unauthorized|WrongBasic|Too[A-Z]\w+"
    r"|Failed|Unavailable|NotNow|session\.flash"
)
