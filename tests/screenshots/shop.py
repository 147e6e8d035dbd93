"""The application in the pictures: a web shop's jobs, which take their time and sometimes fail.

    python shop.py

pushes its batches and a workflow.
"""

from __future__ import annotations

import random
import time

from jobd import Batch, Schedule, Workflow, group, job


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


@job(queue="critical", every=30)
def refresh_rates() -> None:
    time.sleep(random.uniform(0.1, 0.3))


@job(queue="search", cron="*/10 * * * *")
def expire_carts() -> None:
    time.sleep(random.uniform(0.1, 0.3))


@job(
    queue="reports",
    retry=3,
    cron=[
        Schedule("0 6 * * *", args=("yesterday",), tz="Europe/Berlin", name="daily sales"),
        Schedule("30 7 * * mon", args=("last week",), tz="Europe/Berlin", name="weekly sales"),
    ],
)
def sales(span: str) -> None:
    time.sleep(random.uniform(1, 3))


@job(queue="mail", retry=0)
def send_invoice(customer: int) -> None:
    time.sleep(random.uniform(0.3, 1.2))
    if customer % 97 == 0:
        raise ValueError(f"customer {customer} has no address")


@job(queue="critical")
def tell_accounting(month: str) -> None:
    time.sleep(0.1)


@job(queue="critical")
def reserve(order: int) -> list[str]:
    time.sleep(0.2)
    return ["lamp", "chair"]


@job(queue="critical")
def charge(order: int) -> str:
    time.sleep(0.3)
    return f"charge-{order}"


@job(queue="images", retry=0)
def print_label(order: int, parcel: int) -> str:
    time.sleep(0.3)
    return f"label {order}-{parcel}"


@job(queue="reports")
def pack(items: list[str], charged: str) -> None:
    time.sleep(600)


@job(queue="mail")
def announce(order: int) -> None:
    time.sleep(0.1)


def _batches() -> None:
    for description, members in (("Newsletter 48", 40), ("Invoices of November", 2000)):
        with Batch(description=description, tags=["mail"]) as batch:
            batch.on_success(tell_accounting, "November")
            batch.on_death(tell_accounting, "November")
            send_invoice.perform_bulk([(number,) for number in range(1, members + 1)])


def _order(number: int) -> None:
    flow = Workflow(f"order {number}")
    reserved = flow.step("reserve", reserve.s(number))
    charged = flow.step("charge", charge.s(number), after=[reserved])
    packed = flow.step("pack", pack.s(reserved.result, charged.result))
    labels = group(print_label.s(number, parcel) for parcel in (1, 2))
    labelled = flow.step("labels", labels, after=[reserved])
    flow.step("announce", announce.s(number), after=[packed, labelled])
    flow.perform_async()


if __name__ == "__main__":
    _batches()
    _order(70412)
