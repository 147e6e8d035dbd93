"""Calls that both type checkers must accept, with the types they must infer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from jobd import App, Job, job


@job
def plain(user_id: int, subject: str = "hello") -> bool:
    return user_id > 0 and bool(subject)


@job(
    queue="low",
    retry=3,
    tags=["mail"],
    extra={"unique_for": 60},
    retry_in=lambda count, error, payload: 10,
)
def configured(path: str, *, width: int) -> None: ...


@job(name="Slow::Fetch")
async def fetch(url: str) -> bytes:
    return url.encode()


def backoff(count: int, error: Exception, payload: dict[str, object]) -> int:
    return count * 60


class Resize(Job, queue="images", retry=5, retry_in=backoff, extra={"locale": "de"}):
    def perform(self, path: str, width: int = 640) -> float:
        Resize.perform_async(path, width)
        self.perform_async(path)
        return width / 2


class Wide(Resize, queue="wide"):
    def perform(self, path: str, width: int = 1280, height: int = 720) -> float:
        return super().perform(path, width) + height


class Crawl(Job):
    async def perform(self, url: str) -> int:
        return len(url)


app = App(default_options={"queue": "shop"})


@app.job
def sell(article: str, count: int = 1) -> bool:
    return count > 0


@app.job(queue="mail", timeout=5)
async def thank(name: str) -> bytes:
    return name.encode()


class Pack(Job, app=app, retry=3):
    def perform(self, article: str) -> int:
        return len(article)


@app.on("startup")
def begin() -> int:
    return 1


assert_type(begin(), int)
assert_type(sell("x", 2), bool)
assert_type(sell.perform_async("x", count=2), str | None)
assert_type(sell.perform_inline("x"), bool)
assert_type(thank.perform_inline("Ada"), bytes)
assert_type(Pack.perform_async("x"), str | None)
assert_type(Pack.perform_inline("x"), int)

assert_type(plain(1), bool)
assert_type(plain.perform_async(1, "x"), str | None)
assert_type(plain.perform_async(user_id=1, subject="x"), str | None)
plain.perform_in(60, 1)
plain.perform_in(timedelta(minutes=1), 1, subject="x")
plain.perform_at(datetime.now(UTC), 1)
assert_type(plain.perform_bulk([(1,), (2, "x")], at=[60, 120]), list[str | None])
assert_type(plain.perform_inline(1), bool)
plain.set(queue="high", retry=False, extra={"anything": "goes"}).perform_in(5, 1, "x")
assert_type(plain.set(queue="high").set(retry=1).perform_inline(1), bool)
configured.perform_async("a.png", width=3)
assert_type(fetch.perform_inline("http://localhost"), bytes)

assert_type(Resize.perform_async("a.png"), str | None)
Resize.perform_async("a.png", width=3)
Resize.perform_in(60, "a.png", 3)
Resize.perform_in(timedelta(hours=1), "a.png", width=3)
Resize.perform_at(datetime.now(UTC), "a.png")
Resize.perform_bulk([["a.png", 3]], spread=60)
assert_type(Resize.perform_inline("a.png"), float)
Resize.set(queue="high", tags=("now",)).perform_async("a.png", width=3)
Resize.set(queue="high").perform_in(60, "a.png", 3)
assert_type(Resize.set(queue="high").perform_inline("a.png"), float)
Wide.perform_async("a.png", 3, 4)
assert_type(Crawl.perform_inline("http://localhost"), int)


async def pushes() -> None:
    assert_type(await plain.aperform_async(1), str | None)
    assert_type(await plain.aperform_in(60, 1, subject="x"), str | None)
    assert_type(await plain.aperform_at(timedelta(hours=1), 1), str | None)
    assert_type(await plain.aperform_bulk([[1]]), list[str | None])
    assert_type(await Resize.aperform_async("x", 5), str | None)
    assert_type(await Resize.aperform_in(60, "x"), str | None)
    assert_type(await Resize.aperform_at(timedelta(hours=1), "x"), str | None)
    assert_type(await Resize.aperform_bulk([["x"]]), list[str | None])
    assert_type(await fetch.set(queue="low").aperform_async("x"), str | None)
