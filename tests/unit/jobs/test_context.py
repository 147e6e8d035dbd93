"""``current_job`` inside and outside a job."""

from __future__ import annotations

import contextvars
import threading

import pytest

from jobd.errors import JobdError
from jobd.jobs import context
from jobd.jobs.context import CurrentJob, current_job, set_current
from jobd.wire import payload

RAW = b'{"class":"A","args":[1],"jid":"ab","queue":"q","tags":["x"]}'


def made(raw: bytes = RAW) -> CurrentJob:
    return CurrentJob(payload.parse(raw), raw, "q", None)


def test_outside_a_job() -> None:
    with pytest.raises(JobdError, match="outside a job"):
        current_job()


def test_inside_a_job() -> None:
    job = made()

    def inside() -> None:
        set_current(job)
        assert current_job() is job
        copied = contextvars.copy_context()
        seen: list[CurrentJob] = []
        thread = threading.Thread(target=lambda: seen.append(copied.run(current_job)))
        thread.start()
        thread.join()
        assert seen == [job]

    contextvars.Context().run(inside)
    with pytest.raises(JobdError):
        current_job()


def test_what_it_knows() -> None:
    job = made()
    assert (job.jid, job.name, job.queue, job.raw) == ("ab", "A", "q", RAW)
    assert job.payload["tags"] == ["x"]
    assert job.payload is job.payload
    assert repr(job) == "<job A ab from q>"


def test_attempts_count_from_one() -> None:
    assert made().attempt == 1
    assert made(b'{"class":"A","args":[],"retry_count":0}').attempt == 2
    assert made(b'{"class":"A","args":[],"retry_count":3}').attempt == 5
    assert made(b'{"class":"A","args":[],"retry_count":null}').attempt == 1


def test_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "stopping", threading.Event())
    job = made()
    assert not job.stopping
    context.stopping.set()
    assert job.stopping
