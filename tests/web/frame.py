"""What the tests of the dashboard's frame share: three users, a script, and browsers."""

from __future__ import annotations

import html
import re
from functools import cache
from typing import Any

import anyio
from httpx2 import Response as Answer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jobd.web.access import session
from jobd.web.access.users import hash_password, hash_token
from jobd.web.app import Dashboard, dashboard

PASSWORDS = {
    "alice": "correct horse battery",
    "oscar": "staple of operators",
    "vera": "just looking around",
}
ROLES = {"alice": "admin", "oscar": "operator", "vera": "viewer"}
TOKEN = "tok-of-a-script-that-is-long-enough"
VIEWING = "tok-of-a-script-that-only-looks"


@cache
def users() -> tuple[str, ...]:
    """The entries of the settings."""
    return tuple(
        f"{name}:{ROLES[name]}:{hash_password(password)}" for name, password in PASSWORDS.items()
    )


TOKENS = (f"deploy:admin:{hash_token(TOKEN)}", f"prometheus:viewer:{hash_token(VIEWING)}")


def guarded(source: Any, **settings: Any) -> Dashboard:
    """A dashboard with those users and tokens."""
    return dashboard(source, users=users(), tokens=TOKENS, **settings)


def browser(app: Any, *, address: str = "127.0.0.1", url: str = "http://localhost") -> TestClient:
    """A browser: it keeps its cookies, and stops at redirects so that they can be looked at."""
    return TestClient(app, base_url=url, client=(address, 50000), follow_redirects=False)


def token_of(page: Answer) -> str:
    """The token of the forms on *page*."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def log_in(
    client: TestClient, name: str = "alice", password: str = "", under: str = "", **fields: str
) -> Answer:
    """Through the form, as people do."""
    page = client.get(f"{under}/login")
    given = {"name": name, "password": password or PASSWORDS[name], "csrf": token_of(page)}
    answer: Answer = client.post(f"{under}/login", data=given | fields)
    return answer


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def with_form(app: Dashboard) -> Dashboard:
    """The same with a page that has a form, at ``/form``."""

    def form(request: Request) -> Response:
        return PlainTextResponse(f'name="csrf" value="{session.form_token(request)}"')

    app.router.routes.append(Route("/form", form))
    return app


def raw_status(app: Any, path: str, method: str = "GET") -> tuple[int, dict[str, str]]:
    """The status and the headers for a path that no client library has tidied up."""
    found: list[Any] = []

    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        if message := next(messages, None):
            return message
        return await anyio.sleep_forever()

    async def send(message: Any) -> None:
        found.append(message)

    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }
    anyio.run(app, scope, receive, send)
    headers = {key.decode(): value.decode() for key, value in found[0]["headers"]}
    return found[0]["status"], headers
