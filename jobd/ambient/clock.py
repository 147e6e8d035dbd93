"""The clock by which jobs become due, expire and are recorded.

It is the system's. The world of :mod:`jobd.testing`, in which hours pass in no time, puts its own
in place for as long as it is open; so code of jobd asks ``clock.now()`` wherever a time ends up in
Redis or is compared with one from there, and :mod:`time` for what it measures itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

now: Callable[[], float] = time.time
"""Seconds since 1970."""

monotonic: Callable[[], float] = time.monotonic
"""Seconds that only grow, for pauses between the turns of a loop."""
