"""Who looks at the dashboard as a browser does: pages, forms, and pages that stay open."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urljoin, urlsplit

_ACCEPT = {"Accept-Encoding": "gzip", "Accept": "text/html"}
_REGION = re.compile(r'<[^>]* id="([\w-]+)"[^>]*? data-refresh="(\d+)"')
_FURTHER = re.compile(r'<tr id="more"[^>]* hx-get="([^"]+)"')
_LOADING = re.compile(r'<div id="groups" hx-get="([^"]+)" hx-trigger="load')
_ASSET = re.compile(r'(?:<script src|<link [^>]*href)="([^"]+)"')
_SECONDS = 30.0
_IDLE = 2.0
"""Seconds after which a connection is not used again; the server closes it after five."""

_TURN = 2.0
"""Seconds between two events; regions refresh themselves at every so manieth (static/app.js)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. *first_byte* and *whole* are seconds since the request was sent."""

    status: int
    text: str
    first_byte: float
    whole: float


@dataclass
class Visitor:
    """A browser with one connection, without scripts; *root* is the address of the overview."""

    root: str
    _cookies: dict[str, str] = field(default_factory=dict)
    _connection: HTTPConnection | None = None
    _used: float = 0.0

    def get(self, address: str) -> Answer:
        return self._ask("GET", address, None)

    def post(self, address: str, form: list[tuple[str, str]]) -> Answer:
        return self._ask("POST", address, urlencode(form))

    def follow(self, answer: Answer) -> Answer | None:
        """What a search loads by itself after this page of it; None where it is at its end."""
        found = _FURTHER.search(answer.text)
        return self.get(unescape(found[1])) if found else None

    def act(self, page: str, action: str, *choices: tuple[str, str]) -> list[Answer]:
        """Send the form at *page* that leads to *action*, and what comes of it, to the end.

        Args:
            page: address of a page.
            action: end of the address of the form.
            choices: what is chosen in it.

        Returns:
            All answers, the page of the form not among them.
        """
        form = _form(self.get(page).text, action)
        answers = [self.post(form.action, [*form.fields, *choices])]
        while answers[-1].status == 200:
            # A question, or a step of a long action.
            again = _form(answers[-1].text, form.action)
            answers.append(self.post(again.action, again.fields))
        if answers[-1].status != 303:
            raise RuntimeError(f"{action} was answered with {answers[-1].status}")
        return answers

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connected(self, where: str) -> HTTPConnection:
        """A connection that the server has not closed because nothing came."""
        if self._connection is None or time.monotonic() - self._used > _IDLE:
            self.close()
            self._connection = HTTPConnection(where, timeout=_SECONDS)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def _ask(self, method: str, address: str, body: str | None) -> Answer:
        parts = urlsplit(urljoin(self.root, address))
        connection = self._connected(parts.netloc)
        headers = dict(_ACCEPT)
        if self._cookies:
            headers["Cookie"] = "; ".join(
                f"{name}={value}" for name, value in self._cookies.items()
            )
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = f"http://{parts.netloc}"
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        began = time.perf_counter()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        first_byte = time.perf_counter() - began
        raw = response.read()
        whole = time.perf_counter() - began
        self._used = time.monotonic()
        for cookie in response.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        if response.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        return Answer(response.status, raw.decode(errors="replace"), first_byte, whole)


def first_visit(root: str) -> dict[str, int]:
    """Bytes of the overview and of all that it loads, headers too, by address, with gzip."""
    with Visitor(root) as visitor:
        page = visitor.get("")
    own = [unescape(address) for address in _ASSET.findall(page.text)]
    return {address: _transferred(urljoin(root, address)) for address in ("", *dict.fromkeys(own))}


def _transferred(address: str) -> int:
    parts = urlsplit(address)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in _ACCEPT.items()]
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=_SECONDS) as wire:
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        received = b""
        while more := wire.recv(65536):
            received += more
    if not received.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{address} was answered with {received[:40]!r}")
    return len(received)


class OpenPage(threading.Thread):
    """A page that stays open: it listens to the live numbers, and refreshes its regions as
    static/app.js does.

    Attributes:
        events: that have come.
        refreshes: requests of its regions.
    """

    def __init__(self, root: str, address: str) -> None:
        super().__init__(name=f"page {address}", daemon=True)
        self._root = root
        self._address = address
        self._ended = threading.Event()
        self.events = 0
        self.refreshes = 0
        self.failure = ""

    def run(self) -> None:
        try:
            with Visitor(self._root) as visitor:
                answer = visitor.get(self._address)
                while more := _LOADING.search(answer.text):
                    answer = visitor.get(unescape(more[1]))
                while not self._ended.is_set():
                    self._listen(visitor, answer)
        except (OSError, HTTPException, RuntimeError) as error:
            self.failure = f"{self._address}: {error!r}"

    def stop(self) -> None:
        self._ended.set()

    def _listen(self, visitor: Visitor, answer: Answer) -> None:
        """One stream, from its beginning to its end."""
        turns = [int(every) / _TURN for _, every in _REGION.findall(answer.text)]
        regions = [max(1, int(turn + 0.5)) for turn in turns]
        parts = urlsplit(urljoin(self._root, "live"))
        connection = HTTPConnection(parts.netloc, timeout=_SECONDS)
        try:
            connection.request("GET", parts.path)
            stream = connection.getresponse()
            if stream.status != 200:
                raise RuntimeError(f"/live was answered with {stream.status}")
            while not self._ended.is_set() and (line := stream.readline()):
                if line.startswith(b"event: again"):
                    break
                if not line.startswith(b"event: stats"):
                    continue
                self.events += 1
                for every in regions:
                    if self.events % every == 0:
                        answer = visitor.get(self._address)
                        if answer.status != 200:
                            raise RuntimeError(f"a refresh was answered with {answer.status}")
                        self.refreshes += 1
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class _Form:
    action: str
    fields: list[tuple[str, str]]


class _Forms(HTMLParser):
    """All forms of a page, with what is filled in already; boxes and buttons are left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Form] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(_Form(given.get("action", ""), []))
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and self._select:
            # Nobody has chosen another one than the first.
            self._fill(self._select, given.get("value", ""))
            self._select = ""
        elif tag == "input" and "name" in given:
            kind = given.get("type", "text")
            if kind in ("hidden", "text") or (kind == "radio" and "checked" in given):
                self._fill(given["name"], given.get("value", ""))

    def _fill(self, name: str, value: str) -> None:
        if self.found:
            self.found[-1].fields.append((name, value))


def _form(text: str, action: str) -> _Form:
    forms = _Forms()
    forms.feed(text)
    for form in forms.found:
        if urlsplit(form.action).path.endswith(urlsplit(action).path):
            return form
    raise RuntimeError(f"no form leads to {action}")
