"""Random numbers: ids of jobs, delays of retries, times of a bulk push that is spread.

The world of :mod:`jobd.testing` puts a seeded source in place for as long as it is open, so that a
test runs in the same way each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable


def _token(size: int) -> str:
    # As secrets.token_hex does, for which a program that only pushes would load OpenSSL.
    return os.urandom(size).hex()


token: Callable[[int], str] = _token
"""So many random bytes, in hexadecimal digits; nobody can guess them."""

below: Callable[[int], int] = random.randrange
"""A whole number from 0 to below the given one."""

share: Callable[[], float] = random.random
"""A number from 0 to below 1."""
