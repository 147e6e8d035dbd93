"""Where a request comes from: this machine, a page of ours, or a page of another site."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from jobd.text.translatable import Text
from jobd.web.http_errors import Forbidden
from jobd.web.mount import address, is_loopback, sign_of_proxy

_FOREIGN = Text("this request came from another site")


def check_local(request: Request) -> None:
    """Without users everybody at this machine is trusted, but no page of another site that has
    given its name our address (DNS rebinding), and nobody for whom a proxy speaks."""
    host = request.headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if not is_loopback(name):
        raise Forbidden(
            Text(
                "without users the dashboard answers to localhost only, not to %(host)s; "
                "set up users: docs/dashboard.md",
                host=repr(host[:100]),
            )
        )
    if sign := sign_of_proxy(request.scope):
        raise Forbidden(
            Text(
                "without users the dashboard answers to no proxy, and %(sign)s looks like one; "
                "set up users: docs/dashboard.md",
                sign=sign[:60],
            )
        )
    if not is_loopback(address(request.scope)):
        raise Forbidden(
            Text(
                "without users the dashboard answers to this machine only; "
                "set up users: docs/dashboard.md"
            )
        )


def check_origin(request: Request) -> None:
    """What the browser says of where the request comes from; scripts say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise Forbidden(_FOREIGN)
        return
    # Browsers say that of safe places only (TLS, this machine); older ones never.
    origin = request.headers.get("origin")
    if origin is None:
        return
    try:
        ours = {
            # A page of another site cannot set these headers, so one that a proxy has added or
            # changed does not weaken the check.
            _site(host, origin)
            for name in ("host", "x-forwarded-host")
            if (host := request.headers.get(name))
        }
        theirs = _site(urlsplit(origin).netloc, origin)
    except ValueError:
        raise Forbidden(_FOREIGN) from None
    if theirs not in ours:
        raise Forbidden(_FOREIGN)


def _site(host: str, origin: str) -> tuple[str, int]:
    """Name and port; without one, that of the scheme of *origin*."""
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError(host)
    return parts.hostname, parts.port or (443 if origin.startswith("https:") else 80)
