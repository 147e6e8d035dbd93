"""The worker processes that beat, and what their threads are doing; Ruby's are among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import redis as redis_py

from jobd.api.records import Record
from jobd.redis.keys import Keys


@dataclass(frozen=True, slots=True)
class Work:
    """One running job.

    Attributes:
        thread: opaque name of the thread.
        run_at: start, whole seconds since 1970.
    """

    thread: str
    queue: str
    run_at: float
    record: Record


@dataclass(frozen=True, slots=True)
class Process:
    """One worker process.

    Attributes:
        started_at, beat: seconds since 1970.
        rss: resident memory, KB.
        rtt: last round trip to Redis, µs.
        work: running jobs, oldest first.
    """

    identity: str
    hostname: str
    pid: int
    tag: str
    labels: tuple[str, ...]
    queues: tuple[str, ...]
    concurrency: int
    busy: int
    quiet: bool
    started_at: float
    beat: float
    rss: int
    rtt: int
    work: tuple[Work, ...]


def processes(redis: redis_py.Redis, keys: Keys) -> list[Process]:
    """All living processes by identity, in two round trips."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.smembers(keys.processes)
        (members,) = pipe.execute()
        identities = sorted(member.decode() for member in members)
        for identity in identities:
            pipe.hgetall(keys.process(identity))
            pipe.hgetall(keys.work(identity))
            pipe.hgetall(keys.workers(identity))
        answers = pipe.execute()
    triples = zip(identities, answers[::3], answers[1::3], answers[2::3], strict=True)
    # Without its hash a process is dead; without `info` it never began.
    return [
        _process(identity, beat, work or old_work)
        for identity, beat, work, old_work in triples
        if b"info" in beat
    ]


def _process(identity: str, beat: dict[bytes, bytes], work: dict[bytes, bytes]) -> Process:
    info: dict[str, Any] = msgspec.json.decode(beat[b"info"])
    running = [_work(thread.decode(), entry) for thread, entry in work.items()]
    return Process(
        identity=identity,
        hostname=str(info.get("hostname", "")),
        pid=int(info.get("pid", 0)),
        tag=str(info.get("tag") or ""),
        labels=tuple(info.get("labels") or ()),
        queues=_queues(info),
        # A field since Sidekiq 8.1.2, a part of `info` before.
        concurrency=int(beat.get(b"concurrency", info.get("concurrency", 0))),
        busy=int(beat.get(b"busy", 0)),
        quiet=beat.get(b"quiet") == b"true",
        started_at=float(info.get("started_at", 0.0)),
        beat=float(beat.get(b"beat", 0.0)),
        rss=int(beat.get(b"rss", 0)),
        rtt=int(beat.get(b"rtt_us", 0)),
        work=tuple(sorted(running, key=lambda entry: entry.run_at)),
    )


def _queues(info: dict[str, Any]) -> tuple[str, ...]:
    capsules = info.get("capsules") or {}
    named = [queue for capsule in capsules.values() for queue in capsule.get("weights", {})]
    return tuple(dict.fromkeys(named or info.get("queues") or ()))


def _work(thread: str, entry: bytes) -> Work:
    fields: dict[str, Any] = msgspec.json.decode(entry)
    payload = fields["payload"]
    # Text since Sidekiq 6.0.4, an object before.
    raw = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
    return Work(thread, fields["queue"], float(fields["run_at"]), Record.read(raw))
