"""The application in the pictures: a web shop's jobs, which take their time and sometimes fail."""

from __future__ import annotations

import random
import time

from jobd import job


class GatewayError(Exception):
    """The bank does not answer."""


def _ask_the_bank(cents: int) -> None:
    time.sleep(random.uniform(0.05, 0.4))
    if random.random() < 0.05:
        raise GatewayError(f"502 from api.pay.example, charge of {cents / 100:.2f} not captured")


@job(queue="critical", retry=8, backtrace=10, tags=["money"])
def capture_payment(order: int, cents: int, currency: str = "EUR") -> None:
    _ask_the_bank(cents)


@job(queue="mail", retry=5)
def send_receipt(order: int, address: str) -> None:
    time.sleep(random.uniform(0.02, 0.15))


@job(queue="images", backtrace=10)
def resize_image(path: str, widths: list[int]) -> None:
    time.sleep(random.uniform(0.2, 1.5))
    if random.random() < 0.02:
        raise ValueError(f"cannot identify image file {path!r}")


@job(queue="search")
def reindex(kind: str, ids: list[int]) -> None:
    time.sleep(random.uniform(0.05, 0.3))


@job(queue="reports", retry=3, tags=["nightly"])
def nightly_report(day: str) -> None:
    time.sleep(random.uniform(60, 300))
