"""Telling the application's death handlers of jobs that a person has killed."""

from __future__ import annotations

from jobd.errors import PayloadError
from jobd.jobs.app import App
from jobd.jobs.unrun import refuse_unrun
from jobd.wire.payload import decode


def tell_death(app: App, raw: bytes, ex: BaseException | None) -> None:
    """Call the death handlers of *app* for a job that somebody has killed."""
    try:
        fields = decode(raw)
    except PayloadError:
        return
    error = ex or RuntimeError("the job was killed by hand")
    for handler in app.death_handlers:
        try:
            refuse_unrun("a death handler", handler(fields, error))
        except Exception as broken:  # noqa: BLE001 - the application's; the others must run
            for report in app.error_handlers:
                about = {"context": "death handler", "job": fields}
                refuse_unrun("an error handler", report(broken, about))
