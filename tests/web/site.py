"""A dashboard to click through without a browser: pages, forms and buttons as HTML has them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import httpx2
from starlette.testclient import TestClient

from jobd.api import Api
from jobd.web import Role, User, dashboard
from jobd.web.access.users import hash_token

Fields = list[tuple[str, str]]

TOKEN = "of-a-script"


class Form:
    """One form of a page.

    Attributes:
        action, method: where and how it is sent.
        hidden: its hidden fields.
        boxes: values of its check boxes by name.
        buttons: name, value, and address if it has its own, of each by its text.
    """

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.hidden: Fields = []
        self.boxes: dict[str, list[str]] = {}
        self.buttons: dict[str, tuple[str, str, str]] = {}


class Page(HTMLParser):
    """What is on a page.

    Attributes:
        text: all that can be read, words apart by one space.
        links: address of each by its text.
        tags: names of all elements, with their attributes.
    """

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.response = response
        self.status = response.status_code
        self.html = response.text
        self.text = ""
        self.links: dict[str, str] = {}
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._link: str | None = None
        self._button: tuple[str, str, str] | None = None
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given["method"]))
        elif tag == "input" and self.forms:
            form = self.forms[-1]
            kind, name = given.get("type", ""), given.get("name", "")
            if kind == "hidden":
                form.hidden.append((name, given.get("value", "")))
            elif kind == "checkbox" and name:
                form.boxes.setdefault(name, []).append(given["value"])
        elif tag == "button":
            name, value = given.get("name", ""), given.get("value", "")
            self._button = (name, value, given.get("formaction", ""))
        elif tag == "a":
            self._link = given.get("href", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = None
        elif tag == "button":
            self._button = None

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if not words:
            return
        self.text += f" {words}"
        if self._link is not None:
            self.links.setdefault(words, self._link)
        if self._button is not None and self.forms:
            self.forms[-1].buttons.setdefault(words, self._button)

    def form(self, button: str) -> Form:
        """The first form with such a button."""
        found = next((form for form in self.forms if button in form.buttons), None)
        assert found is not None, f"no button {button!r} on: {self.text}"
        return found

    def forms_with(self, button: str) -> list[Form]:
        """All forms with such a button."""
        return [form for form in self.forms if button in form.buttons]

    def has_button(self, text: str) -> bool:
        return any(text in form.buttons for form in self.forms)

    @property
    def keys(self) -> list[str]:
        """Those of the jobs on it."""
        return [key for form in self.forms for key in form.boxes.get("key", [])]


class Site:
    """The dashboard on one Redis, used by somebody."""

    def __init__(self, api: Api, user: User, address: str = "http://localhost") -> None:
        entry = f"{user.name}:{user.role.name.lower()}:{hash_token(TOKEN)}"
        app = dashboard(api, login=lambda request: user, tokens=[entry])
        self.client = TestClient(app, base_url=address, follow_redirects=True)

    def get(self, path: str, **query: Any) -> Page:
        """The page at *path*; it must be there."""
        page = self.look(path, **query)
        assert page.status == 200, page.html
        return page

    def look(self, path: str, **query: Any) -> Page:
        """What is at *path*, whatever it is."""
        address = path + (f"?{urlencode(query)}" if query else "")
        return Page(self.client.get(address))

    def press(self, page: Page, button: str, *given: tuple[str, str]) -> Page:
        """Press a button of a page; *given* are the fields that somebody has filled in."""
        form = page.form(button)
        name, value, action = form.buttons[button]
        fields = [*form.hidden, *given, *([(name, value)] if name else [])]
        return self.send(action or form.action, fields)

    def send(self, address: str, fields: Fields) -> Page:
        """Send a form to an address."""
        return self._post(address, fields, {})

    def insist(self, address: str, *fields: tuple[str, str]) -> Page:
        """Send what no page offers: as a script does, which needs no form."""
        return self._post(address, list(fields), {"authorization": f"Bearer {TOKEN}"})

    def _post(self, address: str, fields: Fields, headers: dict[str, str]) -> Page:
        headers["content-type"] = "application/x-www-form-urlencoded"
        return Page(self.client.post(address, content=urlencode(fields), headers=headers))


def as_role(api: Api, role: Role) -> Site:
    """A site used by somebody with that role, called like it."""
    return Site(api, User(role.name.lower(), role))
