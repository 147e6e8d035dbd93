"""What hangs on a job, in sentences: for pages, ``/api/v1`` and ``why``."""

from __future__ import annotations

import datetime
from typing import NamedTuple

from jobd.ambient import clock
from jobd.api.records import JobRecord
from jobd.text.printable import shortened
from jobd.text.translatable import Text
from jobd.wire import attachments


class Note(NamedTuple):
    """One of these sentences.

    Attributes:
        kind: ``tick``, ``expires``, ``expired``, ``unique``, ``batch``, ``callback``, ``workflow``,
            ``result``, ``snoozed`` or ``aside``.
        at: the time that it speaks of (seconds since 1970).
    """

    kind: str
    text: Text
    advice: str = ""
    at: float | None = None


def notes(job: JobRecord) -> list[Note]:
    """What is to be known of a job that waits; nothing for most jobs.

    >>> [str(note.text) for note in notes(JobRecord(b'{"jobd":{"v":1,"snoozes":2}}'))]
    ['It has put itself off 2 times.']
    """
    attached = job.attachments
    if attached is attachments.NONE:
        return []
    found = []
    if attached.tick is not None:
        text = Text(
            "It was pushed for the tick %(at)s of the periodic job %(schedule)s.",
            at=when(attached.tick),
            schedule=shortened(attached.schedule or "", 200),
        )
        found.append(Note("tick", text, at=attached.tick))
    if attached.snoozes:
        text = Text.counted(
            "It has put itself off once.",
            "It has put itself off %(count)s times.",
            attached.snoozes,
        )
        found.append(Note("snoozed", text))
    if attached.aside:
        text = Text.counted(
            "A worker has set it aside once, since it does not know all that hangs on it.",
            "Workers have set it aside %(count)s times, since they do not know all that hangs on "
            "it.",
            attached.aside,
        )
        advice = Text("Start a worker of the version that has pushed it.")
        found.append(Note("aside", text, advice))
    if (at := attached.expires_at) is not None:
        if at > clock.now():
            text = Text("It will be dropped as expired %(at)s, unless it has started.", at=when(at))
            found.append(Note("expires", text, at=at))
        else:
            text = Text(
                "It expired %(at)s: it will be dropped when a worker takes it.", at=when(at)
            )
            found.append(Note("expired", text, at=at))
    if attached.lock is not None and attached.tick is not None and attached.lock.until == "success":
        text = Text("Until it has ended, further ticks are skipped.")
        found.append(Note("unique", text))
    elif attached.lock is not None:
        text = {
            "success": Text("It is unique: it keeps jobs like it out until it has ended."),
            "start": Text("It is unique: it keeps jobs like it out until it starts."),
            "due": Text("It is unique: it keeps jobs like it out until it is due."),
            "expiry": Text("It is unique: it keeps jobs like it out for a time."),
        }[attached.lock.until]
        found.append(Note("unique", text))
    if (member := attached.batch) is not None:
        text = Text("It is a member of batch %(batch)s.", batch=member[0][:100])
        advice = Text("The batch waits for its end: jobctl batch show.")
        found.append(Note("batch", text, advice))
    if (callback := attached.callback) is not None:
        text = Text(
            "It is a callback of batch %(batch)s, pushed for its %(event)s.",
            batch=callback[0][:100],
            event=callback[1][:100],
        )
        found.append(Note("callback", text))
    if (node := attached.node) is not None:
        text = Text(
            "It is step %(number)s of workflow %(workflow)s.",
            number=node.number,
            workflow=node.workflow[:100],
        )
        advice = Text("The steps after it wait for its end: jobctl workflow show.")
        found.append(Note("workflow", text, advice))
    if attached.result is not None:
        text = Text("Its result is kept for %(seconds)s s.", seconds=f"{attached.result:g}")
        found.append(Note("result", text))
    return found


def when(at: float) -> str:
    """A time (seconds since 1970) within a sentence.

    >>> when(1795416072.9)
    'at 2026-11-23 06:41:12 UTC'
    """
    try:
        moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"at {at:g}"
    return f"at {moment:%Y-%m-%d %H:%M:%S} UTC"
