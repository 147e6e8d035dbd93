"""What every thread of this process is doing, as text for a person."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from types import MappingProxyType


def dump(
    heading: str = "", notes: Mapping[int, str] = MappingProxyType({}), others: Iterable[str] = ()
) -> str:
    """The stacks of all threads, innermost call last.

    Args:
        heading: first line, if there is to be one.
        notes: what to add to a thread's line, by its ident (the job that it runs).
        others: lines for what is no thread, such as coroutines.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = [heading] if heading else []
    for ident, frame in sorted(sys._current_frames().items()):
        note = notes.get(ident)
        lines.append(
            f"\nThread {names.get(ident, '?')} ({ident:#x})" + (f": {note}" if note else "")
        )
        lines += "".join(traceback.format_stack(frame)).rstrip().splitlines()
    lines += (f"\nCoroutine {other}" for other in others)
    return "\n".join(lines).lstrip("\n") + "\n"
