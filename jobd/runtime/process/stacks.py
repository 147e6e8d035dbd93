"""What every thread of this process is doing, as text for a person.

Threads, files and functions may be called anything: a name takes one line, and is cut when it is
long. The parts of a dump are told apart by lines that begin with a word, and none can be forged.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Collection, Iterable, Mapping
from types import FrameType, MappingProxyType

from jobd.text.printable import cut, name_of, shown

_STARTERS = ("/jobd/runtime/child/birth.py", "/jobd/master/start.py")
_THREADING = "/threading.py"
_FRAMES = 100  # of a thread; the innermost
_LONGEST = 500  # characters of a name or a line of code


def dump(
    heading: str = "",
    notes: Mapping[int, str] = MappingProxyType({}),
    idle: Collection[int] = (),
    others: Iterable[str] = (),
    only: Collection[int] | None = None,
) -> str:
    """The stacks of all threads, innermost call last.

    Args:
        heading: first line, if there is to be one.
        notes: what to add to a thread's line, by its ident (the job that it runs).
        idle: idents of threads that wait for work; they are only named.
        others: lines for what is no thread, such as coroutines.
        only: idents of the threads that are wanted; None for all.
    """
    names = {thread.ident: shown(name_of(thread, _LONGEST)) for thread in threading.enumerate()}
    lines = [_line(heading)] if heading else []
    for ident, frame in sorted(sys._current_frames().items()):
        if ident in idle or (only is not None and ident not in only):
            continue
        note = f": {_line(notes[ident])}" if ident in notes else ""
        lines.append(f"\nThread {names.get(ident, '?')} ({ident:#x}){note}")
        lines += "".join(traceback.format_list(map(_plain, _own_part(frame)))).rstrip().split("\n")
    if idle:
        waiting = ", ".join(sorted(names.get(ident, "?") for ident in idle))
        lines.append(f"\nWaiting for work: {waiting}")
    lines += (f"\nCoroutine {_line(other)}" for other in others)
    return "\n".join(lines).lstrip("\n") + "\n"


def _own_part(frame: FrameType) -> list[traceback.FrameSummary]:
    """The stack without how its thread and its process were started, which is always the same."""
    stack = traceback.extract_stack(frame, _FRAMES)
    starters = [at for at, entry in enumerate(stack) if entry.filename.endswith(_STARTERS)]
    begin = starters[-1] + 1 if starters else 0
    while begin < len(stack) - 1 and stack[begin].filename.endswith(_THREADING):
        begin += 1
    return stack[begin:]


def _plain(entry: traceback.FrameSummary) -> traceback.FrameSummary:
    return traceback.FrameSummary(
        _line(entry.filename), entry.lineno, _line(entry.name), line=_line(entry.line or "")
    )


def _line(text: str) -> str:
    return shown(cut(text, _LONGEST))
