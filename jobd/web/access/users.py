"""Who may use the dashboard: names, roles, hashed passwords and hashed tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from jobd.api.roles import Role
from jobd.errors import ConfigError

_N, _R, _P = 1 << 14, 8, 1
_MOST_MEMORY = 64 * 1024 * 1024
_LENGTH = 32
_LEAST_SALT = 8
_LONGEST_NAME = 100
_TOKEN_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is logged in."""

    name: str
    role: Role


def hash_password(password: str) -> str:
    """*password* as it is put into the settings: scrypt (RFC 7914) with n = 2^14, r = 8, p = 1 and
    16 random bytes as salt, as ``scrypt$SALT$HASH`` in Base64."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_text(salt)}${_text(_scrypt(password, salt))}"


def hash_token(token: str) -> str:
    """*token* as it is put into the settings: its SHA-256 in hexadecimal. A token is random and
    long, so that nobody can guess it from that.

    >>> hash_token("x")[:16]
    '2d711642b726b044'
    """
    return hashlib.sha256(token.encode()).hexdigest()


class Users:
    """Those of the settings.

    Args:
        users: ``NAME:ROLE:HASH``, the hash from :func:`hash_password`.
        tokens: ``NAME:ROLE:HASH``, the hash from :func:`hash_token`.

    Raises:
        ConfigError: an entry is not of that form, or a name or a token comes twice.
    """

    def __init__(self, users: Iterable[str] = (), tokens: Iterable[str] = ()) -> None:
        self._passwords: dict[str, tuple[User, _Hash]] = {}
        for user, text in _entries("user", users):
            found = _Hash.read(text)
            if found is None:
                raise ConfigError(
                    f"the password of user {user.name} is not hashed; "
                    f"make a new entry with: jobd web-password {user.name} "
                    "(where a shell reads it, in single quotes: it replaces what begins with $)"
                )
            self._passwords[user.name] = (user, found)
        self._tokens: dict[str, User] = {}
        for user, text in _entries("token", tokens):
            digest = text.lower()
            if not _TOKEN_HASH.fullmatch(digest):
                raise ConfigError(
                    f"the token {user.name} is not hashed; "
                    f"make a new entry with: jobd web-password {user.name} --token"
                )
            if digest in self._tokens:
                raise ConfigError(
                    f"{self._tokens[digest].name} and {user.name} have the same token; "
                    "give each one of its own"
                )
            self._tokens[digest] = user

    def __bool__(self) -> bool:
        return bool(self._passwords or self._tokens)

    @property
    def with_passwords(self) -> bool:
        """Whether there is anybody who could use the login page."""
        return bool(self._passwords)

    def knows(self, name: str) -> bool:
        """Whether there is a user of that name."""
        return name in self._passwords

    def proof(self, name: str) -> str:
        """What the session of user *name* holds: it changes with his password."""
        _, found = self._passwords[name]
        return hashlib.sha256(b"session" + found.salt + found.digest).hexdigest()[:16]

    def named(self, name: str, proof: str) -> User | None:
        """The user of that name as he is in the settings now; None when he is not there, or has
        another password than when *proof* was made."""
        if name not in self._passwords:
            return None
        right = hmac.compare_digest(self.proof(name).encode(), proof.encode())
        return self._passwords[name][0] if right else None

    def with_password(self, name: str, password: str) -> User | None:
        """Who it is, or None; takes about 50 ms, also for a name that does not exist."""
        user, found = self._passwords.get(name, (None, _NOBODY))
        right = hmac.compare_digest(_scrypt(password, found.salt), found.digest)
        return user if right else None

    def with_token(self, token: str) -> User | None:
        """Whose token it is, or None."""
        return self._tokens.get(hash_token(token))


@dataclass(frozen=True, slots=True)
class _Hash:
    """The hash of a password."""

    salt: bytes
    digest: bytes

    @classmethod
    def read(cls, text: str) -> _Hash | None:
        """That of the settings; None where it is none."""
        kind, *parts = text.split("$")
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in parts)
        except ValueError:
            return None
        right = kind == "scrypt" and len(salt) >= _LEAST_SALT and len(digest) == _LENGTH
        return cls(salt, digest) if right else None


_NOBODY = _Hash(bytes(16), b"")
"""Of whom does not exist: as costly as any other, and never right."""


def _entries(kind: str, lines: Iterable[str]) -> list[tuple[User, str]]:
    if isinstance(lines, str):
        raise ConfigError(f"{kind}s must be a list of NAME:ROLE:HASH, not one text")
    found: list[tuple[User, str]] = []
    for line in lines:
        name, _, rest = line.partition(":")
        role, _, digest = rest.partition(":")
        if not name or not digest:
            # Whatever else is in there may be a password.
            raise ConfigError(f"a {kind} is NAME:ROLE:HASH; entry {len(found) + 1} is not")
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ConfigError(
                f"the name of {kind} {len(found) + 1} is too long or has control characters"
            )
        if any(name == user.name for user, _ in found):
            raise ConfigError(f"the {kind} {name} is there twice")
        found.append((User(name, Role.of(role)), digest))
    return found


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=_LENGTH, maxmem=_MOST_MEMORY
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
