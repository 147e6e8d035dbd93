"""Parsing and validation of Redis URLs, for settings and clients.

Forms::

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB][?OPTIONS]      rediss:// for TLS
    unix://[[USER]:PASSWORD@]/PATH[?OPTIONS]
    redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DB][?OPTIONS]

Parsing is strict: what the client library would ignore, or reject only at the first command, is
refused here. The password of a valid URL can therefore be masked reliably; no part of an invalid
one is ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from jobd.settings.schema import Invalid, read_switch, show
from jobd.text.masking import MASK

SENTINEL = "redis+sentinel"
_PORTS = {"redis": 6379, "rediss": 6379, "unix": 0, SENTINEL: 26379}
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:,\s]*))(?::([0-9]{0,5}))?")
_FORMS = (
    "must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH?db=DB "
    "or redis+sentinel://HOST:PORT/SERVICE/DB"
)
_LOOPBACK = {"localhost": "127.0.0.1"}
_ESCAPES = "%2F for /, %3F for ?, %23 for #, %40 for @ and %20 for a space"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL.

    Attributes:
        hosts: host and port of the server, or of each Sentinel.
        path: path of the server's socket, for ``unix``.
        service: name of the server at the Sentinels.
        options: keyword arguments of redis-py, including user, password and database.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    service: str
    options: dict[str, object]


class Option(NamedTuple):
    """An option of the query: parser and description of its value, and its meaning."""

    read: Callable[[str], object]
    value: str
    meaning: str
    scheme: str = ""
    """The only scheme that it is valid for; "" for all."""


def _number(
    low: float, high: float, kind: type[int] | type[float] = int
) -> Callable[[str], object]:
    def read(text: str) -> int | float:
        number = kind(text)
        if not text.isascii() or not low <= number <= high:
            raise ValueError
        return number

    return read


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError
    return text


def _word(text: str) -> str:
    if " " in text:
        raise ValueError
    return _text(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return read


def _switch(text: str) -> bool:
    return read_switch(text, text=True)


_SECONDS = Option(_number(0.1, 30, float), "seconds, 0.1 to 30", "")

OPTIONS: dict[str, Option] = {
    "db": Option(_number(0, 2**31), "a whole number", "The database; overrides that of the path."),
    "username": Option(_text, "text", "The user, if none is given before the host."),
    "password": Option(_text, "text", "The password, if none is given before the host."),
    "socket_timeout": _SECONDS._replace(meaning="Limit for the reply to a command. Default: 5."),
    "socket_connect_timeout": _SECONDS._replace(meaning="Limit for connecting. Default: 5."),
    "socket_keepalive": Option(
        _switch, "true or false", "Whether to send TCP keepalives. Default: true."
    ),
    "health_check_interval": Option(
        _number(0, 86_400),
        "seconds, 0 to 86400",
        "Idle time after which a connection is checked with PING before it is used, "
        "and replaced if there is no reply. Default: 4. 0: never.",
    ),
    "client_name": Option(
        _word,
        "text without spaces",
        "Name of the connections in CLIENT LIST. Needs CLIENT SETNAME.",
    ),
    "protocol": Option(_number(2, 2), "2", "jobd always uses RESP 2."),
    "sentinel_username": Option(_text, "text", "The user at the Sentinels.", SENTINEL),
    "sentinel_password": Option(_text, "text", "The password of the Sentinels.", SENTINEL),
    "ssl_cert_reqs": Option(
        _one_of("none", "optional", "required"),
        "none, optional or required",
        "Whether the server's certificate is verified. Default: required.",
        "rediss",
    ),
    "ssl_check_hostname": Option(
        _switch, "true or false", "Whether the certificate must name the host.", "rediss"
    ),
    "ssl_ca_certs": Option(_text, "a path", "File with the trusted certificates.", "rediss"),
    "ssl_ca_path": Option(_text, "a path", "Directory with the trusted certificates.", "rediss"),
    "ssl_ca_data": Option(_text, "text", "The trusted certificates themselves.", "rediss"),
    "ssl_certfile": Option(_text, "a path", "File with the client's own certificate.", "rediss"),
    "ssl_keyfile": Option(_text, "a path", "File with the key of that certificate.", "rediss"),
    "ssl_password": Option(_text, "text", "Password of that key.", "rediss"),
    "ssl_ciphers": Option(_text, "text", "Allowed ciphers, as OpenSSL writes them.", "rediss"),
    "ssl_min_version": Option(
        _number(771, 772), "771 or 772", "Lowest version: 771 is TLS 1.2, 772 TLS 1.3.", "rediss"
    ),
}
"""The options that a URL may have after its ``?``."""

REFUSED = {
    "decode_responses": "jobs are bytes",
    "encoding": "jobs are bytes",
    "encoding_errors": "jobs are bytes",
    "legacy_responses": "jobd uses RESP 2",
    "max_connections": "jobd opens as many connections as its threads need",
    "timeout": "jobd opens as many connections as its threads need",
    "retry_on_timeout": "jobd decides itself which commands are safe to retry",
    "retry_on_error": "jobd decides itself which commands are safe to retry",
    "socket_read_size": "jobd reads the socket itself",
    "virtual_host": "use db",
}
"""Options of other programs, and why they are refused."""


def read(url: str) -> Address:
    """Parse *url*.

    Raises:
        Invalid: with the reason, which never shows a part of a possible password.

    Example:
        >>> read("redis://app:se%2Fcret@db/1").options
        {'username': 'app', 'password': 'se/cret', 'db': 1}
    """
    scheme, separator, rest = url.strip(" ").partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise Invalid(_FORMS)
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    plain_path = scheme == "unix" and not at  # else an @ in it may belong to a password
    unescaped = "@" in query + ("" if plain_path else path) + userinfo.partition(":")[0]
    if unescaped or "#" in rest or " " in rest or not rest.isprintable():
        raise Invalid(f"holds a character that must be escaped in a URL: write {_ESCAPES}")
    user, colon, password = userinfo.partition(":")
    if at and not colon:
        raise Invalid(
            "has a user and no password before the @: write :PASSWORD@HOST or USER:PASSWORD@HOST"
        )
    options = _read_query(scheme, query)
    options |= {"username": unquote(user)} if user else {}
    options |= {"password": unquote(password)} if password else {}
    if scheme == "unix":
        if hosts or not path:
            raise Invalid("must hold the absolute path of a socket: unix:///run/redis/redis.sock")
        return Address(scheme, (), "/" + unquote(path), "", options)
    service = ""
    if scheme == SENTINEL:
        service, _, path = path.strip("/").partition("/")
        if not service:
            raise Invalid("does not name a service: write redis+sentinel://HOST:PORT/SERVICE/DB")
    database = path.strip("/")
    if database and not re.fullmatch("[0-9]{1,9}", database):
        raise Invalid("has a database that is not a number: write redis://HOST:PORT/0")
    options = ({"db": int(database)} if database else {}) | options
    servers = hosts.split(",") if service else [hosts]
    places = tuple(_read_host(each, _PORTS[scheme]) for each in servers)
    return Address(scheme, places, "", unquote(service), options)


def target(url: str) -> str:
    """The server and database of *url*, without credentials and options.

    Raises:
        Invalid: as :func:`read`.

    Example:
        >>> target("redis://app:secret@db/2"), target("redis://localhost")
        ('db:6379/2', '127.0.0.1:6379/0')
    """
    address = read(url)
    hosts = ",".join(f"{_LOOPBACK.get(host, host)}:{port}" for host, port in address.hosts)
    where = f"{address.service} at {hosts}" if address.service else hosts or address.path
    return f"{where}/{address.options.get('db', 0)}"


def redact(url: str) -> str:
    """*url* made safe to show: its passwords masked, or all of it if it is invalid.

    >>> redact("redis://app:secret@db:6379/0"), redact("redis://sec/ret@db")
    ('redis://app:***@db:6379/0', 'redis://***')
    """
    scheme, separator, rest = url.strip(" ").partition("://")
    try:
        read(url)
    except Invalid:
        return f"{scheme}://{MASK}" if separator and scheme.lower() in _PORTS else MASK
    place, has_query, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    if at:
        authority = f"{userinfo.partition(':')[0]}:{MASK}@{hosts}"
    return f"{scheme}://{authority}{slash}{path}{has_query}{'&'.join(map(_mask, query.split('&')))}"


def _mask(pair: str) -> str:
    name = pair.partition("=")[0]
    return f"{name}={MASK}" if unquote(name).endswith("password") else pair


def _read_query(scheme: str, query: str) -> dict[str, object]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise Invalid("has something after the ? that is not OPTION=VALUE&OPTION=VALUE") from None
    found: dict[str, object] = {}
    for name, value in pairs:
        option = OPTIONS.get(name)
        if option is None:
            # The name may be part of a password that contains an unescaped &.
            called = "an option" if "password" in query else f"the option {show(name)}"
            why = f": {REFUSED[name]}" if name in REFUSED else ""
            raise Invalid(
                f"has {called}, which jobd does not accept{why}; "
                "remove it (docs/configuration.md lists the options)"
            )
        if option.scheme not in ("", scheme) or (name == "socket_keepalive" and scheme == "unix"):
            fits = f"{option.scheme}://" if option.scheme else "TCP"
            raise Invalid(f"has the option {name}, which is for {fits} only")
        if name in found:
            raise Invalid(f"has the option {name} twice")
        try:
            found[name] = option.read(value)
        except ValueError:
            raise Invalid(f"has an invalid value for {name}: it must be {option.value}") from None
    return found


def _read_host(text: str, default: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = int((match and match[3]) or default)
    if match is None or not 0 < port < 65_536:
        raise Invalid(
            "has an invalid host or port: write HOST:PORT, with a port from 1 to 65535 and an IPv6 "
            "address in brackets, [::1]:6379"
        )
    return unquote(match[1] or match[2] or "localhost"), port
