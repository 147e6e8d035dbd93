"""Calls that both type checkers must refuse: every line marked ``# refused``, and no other."""

from __future__ import annotations

from jobd import Job, job


@job
def plain(user_id: int, subject: str = "hello") -> bool:
    return user_id > 0 and bool(subject)


@job(queue="low")
def configured(path: str, *, width: int) -> None: ...


class Resize(Job, queue="images"):
    def perform(self, path: str, width: int = 640) -> None: ...


class Unfinished(Job):
    """Has no perform."""


plain("one")  # refused
plain.perform_async()  # refused
plain.perform_async("one")  # refused
plain.perform_async(1, "x", 3)  # refused
plain.perform_async(1, sobject="x")  # refused
plain.perform_in("soon", 1)  # refused
plain.perform_in(60, "one")  # refused
plain.perform_at("tomorrow", 1)  # refused
plain.perform_inline("one")  # refused
plain.perform_bulk([1, 2])  # refused
plain.set(queue=5)  # refused
plain.set(retry="often")  # refused
plain.set(queue="x").perform_async("one")  # refused
configured.perform_async("a.png")  # refused
configured.perform_async("a.png", 3)  # refused

Resize.perform_async()  # refused
Resize.perform_async(3)  # refused
Resize.perform_async("a.png", "wide")  # refused
Resize.perform_async("a.png", height=3)  # refused
Resize.perform_in(60, 3)  # refused
Resize.perform_in("soon", "a.png")  # refused
Resize.perform_at("tomorrow", "a.png")  # refused
Resize.perform_inline(3)  # refused
Resize.perform_bulk([1, 2])  # refused
Resize.set(queue=5)  # refused
Resize.set(queue="x").perform_async(3)  # refused
Unfinished.perform_async()  # refused

job(queue=5)  # refused
job(retry_in=60)  # refused
