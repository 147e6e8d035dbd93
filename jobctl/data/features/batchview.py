"""One batch with all that is known of it, for people."""

from __future__ import annotations

from jobctl.data.words import moment
from jobd.api.features.batch_parts import BatchCallback, Parts
from jobd.features.batches.record import BatchStatus

_ENDS = ("done", "dead", "expired", "cancelled", "unconfirmed")


def facts_of(one: BatchStatus) -> list[tuple[str, str]]:
    """Its fields by their names; the values are not safe to print as they are."""
    counts = [(name, getattr(one, name)) for name in _ENDS]
    ended, lost = one.total - one.pending, one.abandoned_at is not None
    return [
        ("batch", one.bid),
        ("description", one.description),
        ("tags", ", ".join(one.tags)),
        ("state", one.state),
        ("jobs", f"{ended:,} of {one.total:,} ({one.progress:.0%}) have ended"),
        ("of them", "\n".join(f"{count:,} {name}" for name, count in counts if count)),
        ("failed", f"{one.failed:,} at least once" if one.failed else ""),
        ("open blocks", f"{one.open:,}" if one.open else ""),
        ("in batch", one.parent),
        ("pushed", moment(one.created_at)),
        ("abandoned", moment(one.abandoned_at)),
        ("", "its producer seems to have died: close or cancel ends it" if lost else ""),
        ("cancelled", moment(one.cancelled_at)),
        ("ended", moment(one.ended_at)),
    ]


def parts_of(parts: Parts) -> list[tuple[str, str]]:
    """What it is made of: callbacks, batches inside it, and members that have failed."""
    return [
        *((f"on {each.event}", _callback(each)) for each in parts.callbacks),
        *(("inside", f"{each.bid} {each.state} {each.description}") for each in parts.inside),
        *([] if parts.all_inside else [("", "there may be more batches inside it")]),
        *((each.state, each.jid) for each in parts.failures),
    ]


def _callback(one: BatchCallback) -> str:
    state = f"{'pushed' if one.pushed else 'waits'}, job {one.jid}"
    return f"{one.name}\n{state}" if one.name else state
