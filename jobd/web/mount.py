"""Where a request is: under which prefix the dashboard is mounted, at which address below it, and
from whom it comes.

Whatever stands in front of us has a say in all three, so each is worked out in one place only: what
the gate lets pass must be what the router finds.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import quote

from starlette.types import Scope

# Without those that end a path in a cookie.
_SAFE = "/!$&'()*+=:@~"
_DIRECT = frozenset(
    b"""
    accept accept-charset accept-encoding accept-language accept-datetime alt-used authorization
    cache-control connection content-encoding content-language content-length content-type cookie
    date device-memory dnt downlink dpr ect expect from host http2-settings if-match
    if-modified-since if-none-match if-range if-unmodified-since keep-alive last-event-id origin
    pragma priority purpose range referer rtt save-data service-worker te trailer
    transfer-encoding upgrade upgrade-insecure-requests user-agent viewport-width width x-csrf-token
    x-requested-with
    """.split()
)
"""Headers that browsers and scripts send to a server that they talk to. Besides them there are
``Sec-…``, which are the browser's own."""
_FOR_PROGRAMS = frozenset({"/metrics", "/healthz", "/readyz", "/live"})


def root(scope: Scope) -> str:
    """The path at which the dashboard is mounted, as it is in *scope*: ``/jobs``, or ""."""
    return str(scope.get("root_path", "")).rstrip("/")


def prefix(scope: Scope) -> str:
    """The same as addresses of pages begin. Never one that a browser takes for another host.

    >>> prefix({"root_path": "/my jobs/"}), prefix({"root_path": "//evil.example"}), prefix({})
    ('/my%20jobs', '/evil.example', '')
    """
    found = root(scope).lstrip("/\\")
    return "/" + quote(found, safe=_SAFE) if found else ""


def path_within(scope: Scope) -> str:
    """The path below that: ``/queues``; "" for the prefix without a slash at its end.

    >>> path_within({"root_path": "/jobs", "path": "/jobs/login"})
    '/login'
    """
    path, above = str(scope["path"]), root(scope)
    # Servers differ in whether the path has the prefix; so does Starlette's router, in this way.
    if above and (path == above or path.startswith(above + "/")):
        return path[len(above) :]
    return path


def whole_path(scope: Scope) -> str:
    """The path with what is above it, where a proxy has taken the first part away and the
    application around us was only told so (``root_path`` of FastAPI).

    >>> whole_path({"root_path": "/shop/jobs", "app_root_path": "/shop", "path": "/jobs/login"})
    '/shop/jobs/login'
    """
    path, above = str(scope["path"]), root(scope)
    longer = str(scope.get("app_root_path", "")).rstrip("/") + path
    is_whole = path == above or path.startswith(above + "/")
    return longer if not is_whole and longer.startswith(above + "/") else path


def is_api(scope: Scope) -> bool:
    """Whether it is for programs, which are answered in JSON."""
    path = path_within(scope)
    return path.startswith("/api/") or path in _FOR_PROGRAMS


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that name (in lower case); None when there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def address(scope: Scope) -> str:
    """Who sends it: an IP address, or "" where it came by a UNIX socket."""
    if client := scope.get("client"):
        return str(client[0])
    return str(scope.get("wsgi_environ", {}).get("REMOTE_ADDR", ""))


def network(scope: Scope) -> str:
    """The same as it is counted: of an IPv6 address the 64 bits that everybody has to himself.

    >>> network({"client": ("2001:db8::7", 1)}), network({"client": ("192.0.2.7", 1)})
    ('2001:db8::/64', '192.0.2.7')
    """
    found = address(scope)
    try:
        parsed = ipaddress.ip_address(found)
    except ValueError:
        return found[:100]
    if isinstance(parsed, ipaddress.IPv6Address):
        if mapped := parsed.ipv4_mapped:
            return str(mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def is_loopback(host: str) -> bool:
    """Whether that name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_BROWSERS = (b"sec-", b"hx-")
"""How further headers of browsers begin, and those that the script of our own pages sends."""


def sign_of_proxy(scope: Scope) -> str | None:
    """What shows that a proxy has passed it on: a header that none but a proxy need send, or a
    version of HTTP that only proxies speak; None if nothing does.

    Proxies have hundreds of headers, and new ones every year, so the known ones are those of
    browsers.

    >>> sign_of_proxy({"http_version": "1.1", "headers": [(b"host", b"h"), (b"sec-gpc", b"1")]})
    >>> sign_of_proxy({"http_version": "1.1", "headers": [(b"cf-connecting-ip", b"::1")]})
    'cf-connecting-ip'
    >>> sign_of_proxy({"http_version": "1.0", "headers": []})
    'HTTP/1.0'
    """
    version = str(scope.get("http_version", "1.1"))
    if version in ("0.9", "1.0"):
        return f"HTTP/{version}"
    names = (name.lower() for name, _ in scope["headers"])
    found = next((n for n in names if n not in _DIRECT and not n.startswith(_BROWSERS)), None)
    return None if found is None else found.decode("latin-1")
