"""The settings of ``jobd web``: section ``[web]`` of the configuration file, environment variables
and, for some, flags. Secrets have no flag: all users of a machine can see command lines."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from jobd.settings.schema import Invalid, Setting, describe, not_empty, setting, show

LEAST_SECRET = 16
"""Minimum length of the secret."""

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


def _path(text: str) -> None:
    if not _PATH.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise Invalid(
            f"must be like /jobs, with letters, digits and the signs . _ ~ - only, not {show(text)}"
        )


def _directory(text: str) -> None:
    if text and not Path(text).is_dir():
        raise Invalid(f"must be a directory, not {show(text)}")


def _secret(text: str) -> None:
    if text and len(text) < LEAST_SECRET:
        raise Invalid(f"must have at least {LEAST_SECRET} characters")


def _proxy(text: str) -> None:
    try:
        if text != "*":
            ipaddress.ip_network(text)
    except ValueError:
        raise Invalid(
            f"must hold addresses or networks like 10.0.0.7 or 10.0.0.0/24, or *, not {show(text)}"
        ) from None


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """The settings of the dashboard, except those of Redis."""

    bind: str = setting(
        "127.0.0.1",
        "Address to listen on. Addresses other than loopback require users or tokens.",
        "-b",
        "--bind",
        env=("JOBD_WEB_BIND",),
        metavar="ADDRESS",
        check=not_empty,
    )
    port: int = setting(
        7420,
        "Port to listen on; 0 for any.",
        "-p",
        "--port",
        env=("JOBD_WEB_PORT",),
        minimum=0,
        maximum=65535,
    )
    path: str = setting(
        "",
        "Path at which a proxy serves the dashboard, e.g. /jobs.",
        env=("JOBD_WEB_PATH",),
        metavar="PATH",
        check=_path,
    )
    proxies: tuple[str, ...] = setting(
        (),
        "Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto headers are trusted.",
        "--proxy",
        env=("JOBD_WEB_PROXIES",),
        metavar="ADDRESS",
        check=_proxy,
    )
    users: tuple[str, ...] = setting(
        (),
        "Users, as NAME:ROLE:HASH (viewer, operator or admin); see jobd web-password.",
        env=("JOBD_WEB_USERS",),
        metavar="ENTRY",
    )
    tokens: tuple[str, ...] = setting(
        (),
        "Tokens for scripts, as NAME:ROLE:SHA256.",
        env=("JOBD_WEB_TOKENS",),
        metavar="ENTRY",
    )
    secret: str = setting(
        "",
        "Key that signs the cookies; 16 characters or more. Empty: new at each start, which ends "
        "sessions.",
        env=("JOBD_WEB_SECRET",),
        metavar="TEXT",
        check=_secret,
    )
    title: str = setting(
        "",
        "Name of this installation, shown on every page.",
        env=("JOBD_WEB_TITLE",),
        metavar="TEXT",
    )
    translations: str = setting(
        "",
        "Directory with additional translations, as LANGUAGE/LC_MESSAGES/jobd-web.mo.",
        env=("JOBD_WEB_TRANSLATIONS",),
        metavar="DIRECTORY",
        check=_directory,
    )


WEB_FLAGS = ("bind", "port", "path", "proxies", "title", "translations")
"""Settings that have a flag."""

#: The description of every field of WebConfig, in order.
WEB_SETTINGS: tuple[Setting, ...] = describe(WebConfig)
