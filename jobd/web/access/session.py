"""The session: who has logged in with this browser, the token of its forms, one message for the
next page. All of it is in a signed cookie.

A session ends twelve hours after it began, when its user logs out, when he is removed from the
settings and when his password is changed. The first and the last two need no memory: the cookie
holds when it ends, and a proof made of the password's hash. Of those who have logged out Redis
remembers the sessions (:mod:`jobd.web.access.revoked`), so that a copied cookie is worth nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time

import msgspec
from itsdangerous import BadSignature, Signer
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobd.web import language
from jobd.web.mount import header, prefix
from jobd.wire.json_value import UNREADABLE

LASTS = 12 * 3600
"""Seconds after which somebody must log in again."""

_TOKEN = 16
_TEXT = 300
_REF = 40
"""Bytes of a token, and characters of a message and of what it can undo: whatever they are, the
cookie has less than 4096 bytes. Browsers forget larger ones."""


class _Content(msgspec.Struct, omit_defaults=True):
    """What is in the cookie. *until* is Unix time."""

    until: float
    token: str = ""
    user: str = ""
    proof: str = ""
    ident: str = ""
    flash: tuple[str, str] | None = None


class Session:
    """The session of one request."""

    def __init__(self, content: _Content | None) -> None:
        self.known = content is not None
        self.content = content or _Content(until=time.time() + LASTS)
        self.changed = False

    @property
    def is_empty(self) -> bool:
        return not (self.content.token or self.content.user or self.content.flash)


class Sessions:
    """Middleware: reads the cookie, and sends it again when something in it has changed.

    Args:
        secret: signs it. The session is not that of the application around us, which may have one
            of its own in ``request.session``.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._signer = Signer(secret, salt="jobd.web.session", digest_method=hashlib.sha256)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = cookie_name(scope)
        session = Session(self._read(HTTPConnection(scope).cookies.get(name, "")))
        scope["jobd.session"] = session

        async def with_cookie(message: Message) -> None:
            changed = session.changed and (session.known or not session.is_empty)
            if changed and message["type"] == "http.response.start":
                cookie = self._cookie(scope, name, session)
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        await self._app(scope, receive, with_cookie)

    def _read(self, text: str) -> _Content | None:
        try:
            raw = base64.urlsafe_b64decode(self._signer.unsign(text))
            content = msgspec.json.decode(raw, type=_Content)
        except (BadSignature, binascii.Error, *UNREADABLE):
            return None
        return content if content.until > time.time() else None

    def _cookie(self, scope: Scope, name: str, session: Session) -> str:
        content = session.content
        if session.is_empty:
            value, age = "", 0
        else:
            text = base64.urlsafe_b64encode(msgspec.json.encode(content))
            value = self._signer.sign(text).decode()
            age = max(0, round(content.until - time.time()))
        # A name that begins with __Host- is only taken with these two.
        tls = scope.get("scheme") == "https"
        secure, place = ("; Secure", "/") if tls else ("", prefix(scope) or "/")
        return f"{name}={value}; Path={place}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"


def cookie_name(scope: Scope) -> str:
    """A separate name per dashboard on a host: browsers send cookies to all its ports, and those
    of ``/`` to all paths.

    With TLS the name begins with ``__Host-``: no other host, not even a subdomain, and no
    connection without TLS can set it. For that its path must be ``/``.
    """
    host = header(scope, b"host") or ""
    port = host.rpartition(":")[2]
    which = f"{port if port.isascii() and port.isdigit() else ''}{prefix(scope)}"
    name = "jobd_" + (hashlib.sha256(which.encode()).hexdigest()[:8] if which else "session")
    return f"__Host-{name}" if scope.get("scheme") == "https" else name


def session_of(request: HTTPConnection) -> Session:
    """The session of this request."""
    session = request.scope["jobd.session"]
    assert isinstance(session, Session)
    return session


def log_in(request: Request, name: str, proof: str) -> None:
    """From now on this browser is *name*; what it had before is forgotten.

    Args:
        proof: of his password, see :meth:`jobd.web.access.users.Users.proof`.
    """
    session = session_of(request)
    until, ident = time.time() + LASTS, secrets.token_hex(8)
    session.content = _Content(until=until, user=name, proof=proof, ident=ident)
    session.changed = True


def log_out(request: Request) -> None:
    """This browser is nobody any more."""
    session = session_of(request)
    session.content = _Content(until=time.time() + LASTS)
    session.changed = True


def user_name(request: HTTPConnection) -> str:
    """Who has logged in with this browser; "" for nobody. Whether he still may is the gate's."""
    session = request.scope.get("jobd.session")
    return session.content.user if isinstance(session, Session) else ""


def form_token(request: Request) -> str:
    """What every form of this browser must carry. Each time it looks otherwise, so that its text
    cannot be guessed from the size of compressed pages (BREACH)."""
    session = session_of(request)
    if not session.content.token:
        session.content.token = secrets.token_hex(_TOKEN)
        session.changed = True
    mask = secrets.token_bytes(_TOKEN)
    masked = _xor(mask, bytes.fromhex(session.content.token))
    return base64.urlsafe_b64encode(mask + masked).decode()


def is_form_token(request: Request, given: str) -> bool:
    """Whether *given* is the token of this browser's forms."""
    expected = session_of(request).content.token
    try:
        raw = base64.urlsafe_b64decode(given)
    except (binascii.Error, ValueError):
        return False
    if not expected or len(raw) != 2 * _TOKEN:
        return False
    return secrets.compare_digest(_xor(raw[:_TOKEN], raw[_TOKEN:]), bytes.fromhex(expected))


def flash(request: Request, text: str, *, undo: str = "") -> None:
    """Show *text*, in the reader's language, on the next page, with a button that undoes the
    deletion *undo*."""
    session = session_of(request)
    text = language.of(request).translate(text)
    text = text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
    session.content.flash = (text, undo[:_REF])
    session.changed = True


def take_flash(request: Request) -> tuple[str, str] | None:
    """The message for this page and what it can undo, once."""
    session = request.scope.get("jobd.session")
    if not isinstance(session, Session) or session.content.flash is None:
        return None
    found, session.content.flash = session.content.flash, None
    session.changed = True
    return found


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
