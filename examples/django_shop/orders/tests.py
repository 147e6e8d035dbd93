"""Tests of the shop: ``python manage.py test``. No Redis is needed."""

from __future__ import annotations

from django.test import TestCase
from django.utils import translation

from jobd.testing import JobdTestMixin
from orders.jobs import count_orders, write_receipt
from orders.models import Order


class Orders(JobdTestMixin, TestCase):
    """What an order stores, and what it pushes."""

    def test_an_order_pushes_its_job(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/orders/", {"email": "ada@example.org", "item": "tea"})
        self.assertRedirects(answer, "/")
        self.jobs.assert_pushed(write_receipt, Order.objects.get().pk, queue="mail", times=1)
        with self.captureOnCommitCallbacks(execute=True):
            self.jobs.drain(write_receipt)
        self.assertContains(self.client.get("/"), "tea for ada@example.org: tea, ")
        self.jobs.assert_pushed(count_orders)

    def test_an_order_that_is_refused_pushes_nothing(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/orders/", {"email": "nobody", "item": "tea"})
        self.assertEqual(answer.status_code, 400)
        self.jobs.assert_not_pushed(write_receipt)

    def test_the_receipt_is_in_the_language_of_the_push(self) -> None:
        order = Order.objects.create(email="ada@example.org", item="tea")
        with self.captureOnCommitCallbacks(execute=True), translation.override("de"):
            write_receipt.perform_async(order.pk)
        self.jobs.drain(write_receipt)
        order.refresh_from_db()
        self.assertTrue(order.receipt.endswith("(de)"))
