"""Calls that both type checkers must refuse.

An ignore comment that a checker does not need is an error, so none of them can be accepted.
"""

from __future__ import annotations

import jobd
from jobd import App, Job, job


@job
def plain(user_id: int, subject: str = "hello") -> bool:
    return user_id > 0 and bool(subject)


@job(queue="low")
def configured(path: str, *, width: int) -> None: ...


class Resize(Job, queue="images"):
    def perform(self, path: str, width: int = 640) -> None: ...


class Unfinished(Job):
    """Has no perform."""


app = App()


@app.job
def sell(article: str) -> bool:
    return bool(article)


@app.job(queue="mail")
def thank(name: str) -> None: ...


class Pack(Job, app=app):
    def perform(self, article: str) -> None: ...


class Lost(Job, app="shop"):  # type: ignore[arg-type]
    def perform(self) -> None: ...


sell(1)  # type: ignore[arg-type]
sell.perform_async()  # type: ignore[call-arg]
sell.perform_async(1)  # type: ignore[arg-type]
thank.perform_in(60, 1)  # type: ignore[arg-type]
Pack.perform_async(1)  # type: ignore[arg-type]
app.job(queu="x")  # type: ignore[call-overload]
app.on("stop")  # type: ignore[arg-type]

plain("one")  # type: ignore[arg-type]
plain.perform_async()  # type: ignore[call-arg]
plain.perform_async("one")  # type: ignore[arg-type]
plain.perform_async(1, "x", 3)  # type: ignore[call-arg]
plain.perform_async(1, sobject="x")  # type: ignore[call-arg]
plain.perform_in("soon", 1)  # type: ignore[arg-type]
plain.perform_in(60, "one")  # type: ignore[arg-type]
plain.perform_at("tomorrow", 1)  # type: ignore[arg-type]
plain.perform_inline("one")  # type: ignore[arg-type]
plain.perform_bulk([1, 2])  # type: ignore[list-item]
plain.set(queue=5)  # type: ignore[arg-type]
plain.set(retry="often")  # type: ignore[arg-type]
plain.set(queue="x").perform_async("one")  # type: ignore[arg-type]
configured.perform_async("a.png")  # type: ignore[call-arg]
configured.perform_async("a.png", 3)  # type: ignore[call-arg]

Resize.perform_async()  # type: ignore[call-arg]
Resize.perform_async(3)  # type: ignore[arg-type]
Resize.perform_async("a.png", "wide")  # type: ignore[arg-type]
Resize.perform_async("a.png", height=3)  # type: ignore[call-arg]
Resize.perform_in(60, 3)  # type: ignore[arg-type]
Resize.perform_in("soon", "a.png")  # type: ignore[arg-type]
Resize.perform_at("tomorrow", "a.png")  # type: ignore[arg-type]
Resize.perform_inline(3)  # type: ignore[arg-type]
Resize.perform_bulk([1, 2])  # type: ignore[list-item]
Resize.set(queue=5)  # type: ignore[arg-type]
Resize.set(queue="x").perform_async(3)  # type: ignore[arg-type]
Unfinished.perform_async()  # type: ignore[arg-type]

plain.set(queu="x")  # type: ignore[call-arg]
plain.set(timeout=5)  # type: ignore[call-arg]
Resize.set(retires=5)  # type: ignore[call-arg]


class Misspelt(Job, queu="x"):  # type: ignore[call-arg]
    def perform(self) -> None: ...


job(queu="x")  # type: ignore[call-overload]
job(queue=5)  # type: ignore[call-overload]
job(retry_in=60)  # type: ignore[call-overload]

jobd.Jobb()  # type: ignore[attr-defined]
