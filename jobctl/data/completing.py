"""Completion of names that are in Redis: a short look, silent if that takes too long or fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from jobd.api.entry import Api

LIMIT = 0.2
"""Seconds that Redis may take: whoever presses Tab waits."""

_MOST = 200
"""Jobs whose names are looked at, and names that are told."""

_LONGEST = 200
"""Characters of a name."""

_SPECIAL = re.compile(r"^[-#=]|[\s\"'\\$`;|&<>()*?\[\]{}!~^]")
"""What a shell reads as something else than a part of a word."""


def _completing(
    names: Callable[[Api], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(
        context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        try:
            found = sorted({name for name in names(_short(context)) if name.startswith(begun)})
        except Exception:  # noqa: BLE001 - a message would end up among the names
            return []
        plain = (name for name in found if _is_one_word(name))
        return [CompletionItem(name) for _, name in zip(range(_MOST), plain, strict=False)]

    return complete


def _is_one_word(name: str) -> bool:
    """Whether a shell takes *name* as it is, and jobctl as no option: bash writes what it completes
    into the command line unquoted, where ``a;reboot`` is a command of its own.

    >>> [_is_one_word(name) for name in ("UserMailer#welcome", "größe:1", "a;reboot", "--all")]
    [True, True, False, False]
    """
    return 0 < len(name) <= _LONGEST and name.isprintable() and _SPECIAL.search(name) is None


def _short(context: click.Context) -> Api:
    """The data API on a connection that gives up soon."""
    from jobctl.data.connection import address
    from jobd.api.entry import Api
    from jobd.store.connection import connect

    url, prefix = address(context)
    return Api(connect(url, timeout=LIMIT), prefix)


def _queues(api: Api) -> list[str]:
    return [queue.name for queue in api.queues(_MOST)]


def _classes(api: Api) -> list[str]:
    jobs = [job for part in (api.retries, api.dead, api.scheduled) for job in part.page(0, 50)]
    return [job.display_class for job in jobs]


def _processes(api: Api) -> list[str]:
    return [process.identity for process in api.processes.all(_MOST)]


def _deletions(api: Api) -> list[str]:
    return [deletion.ref for deletion in api.trash.page(0, 50)]


def _places(api: Api) -> list[str]:
    return ["all", "retries", "scheduled", "dead", *(f"queue:{name}" for name in _queues(api))]


queues = _completing(_queues)
places = _completing(_places)
classes = _completing(_classes)
processes = _completing(_processes)
deletions = _completing(_deletions)
