"""Recent events of the daemon's log, selected for a small screen."""

from __future__ import annotations

import json
from pathlib import Path

from jobd.demo.scene import Event
from jobd.text.printable import shown
from jobd.wire.json_value import Object

_EVENTS = 10
_OUTCOMES = {"retry": "failed, will be retried", "dead": "failed, moved to the dead set"}


class Events:
    """The last events of the log in *file*, which need not exist yet."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._events: list[Event] = []
        self._read = 0
        self._last_done = ""

    def look(self) -> list[Event]:
        """The last events, with only one finished job per call."""
        if not self._file.exists():
            return self._events
        with self._file.open("rb") as log:
            log.seek(self._read)
            lines, newline, _rest = log.read().rpartition(b"\n")
        self._read += len(lines) + len(newline)
        records = [json.loads(line) for line in lines.split(b"\n") if line[:1] == b"{"]
        done = [record for record in records if record["event"] == "job_done"]
        # A different class than the last time, so that all are shown.
        others = [record for record in done if record["class"] != self._last_done] or done
        chosen = max(others, key=lambda record: float(record["elapsed"]), default=None)
        if chosen:
            self._last_done = chosen["class"]
        shown = [r for r in records if r is chosen or (r not in done and _is_shown(r))]
        self._events = [*self._events, *map(_event, shown)][-_EVENTS:]
        return self._events


def _is_shown(record: dict[str, object]) -> bool:
    return record["event"] == "job_failed" or ("class" not in record and record["level"] != "debug")


def _event(record: Object) -> Event:
    what = record["event"]
    name = str(record.get("class", "")).rpartition(".")[2]
    if what == "job_done":
        text = f"{name} done in {record['elapsed'] * 1000:.0f} ms"
    elif what == "job_failed":
        outcome = _OUTCOMES.get(record["outcome"], record["outcome"])
        message = str(record["error"]).partition(": ")[2]
        text = f"{name} {outcome}: {message}"
    else:
        text = what.replace("_", " ")
    return Event(record["timestamp"][11:19], record["role"], shown(text), record["level"])
