"""Keys in the keyring of a session, see keyrings(7)."""

from __future__ import annotations

import ctypes
import platform

_NUMBERS = {"x86_64": (248, 250), "aarch64": (217, 219), "riscv64": (217, 219)}
_JOIN, _READ, _SESSION = 1, 11, -3


def _call(which: int, *arguments: object) -> int:
    numbers = _NUMBERS.get(platform.machine())
    return -1 if numbers is None else int(ctypes.CDLL(None).syscall(numbers[which], *arguments))


def add() -> int:
    """Begin a session with a key, as a login does; its number, -1 if the kernel refuses."""
    _call(1, _JOIN, None)
    return _call(0, b"user", b"ticket", b"secret", 6, _SESSION)


def can_read(key: int) -> bool:
    """Whether this process can read that key."""
    return _call(1, _READ, key, ctypes.create_string_buffer(9), 9) > 0
