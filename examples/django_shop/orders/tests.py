"""Tests of the shop: ``python manage.py test``. No Redis is needed."""

from __future__ import annotations

from django.test import TestCase
from django.utils import translation

from jobd import client_middleware
from orders.jobs import write_receipt
from orders.models import Order


class Orders(TestCase):
    """What an order stores, and what it pushes."""

    def test_an_order_pushes_its_job(self) -> None:
        pushed = []

        def note(name: str, payload: dict[str, list[object]], *_: object) -> None:
            pushed.append((name, payload["args"]))

        client_middleware.add(note)
        self.addCleanup(client_middleware.remove, note)
        answer = self.client.post("/orders/", {"email": "ada@example.org", "item": "tea"})
        self.assertRedirects(answer, "/")
        order = Order.objects.get()
        self.assertEqual(pushed, [("orders.jobs.write_receipt", [order.pk])])

    def test_the_receipt_is_written_once(self) -> None:
        order = Order.objects.create(email="ada@example.org", item="tea")
        for language in ("de", "en"):
            with translation.override(language):
                write_receipt.perform_inline(order.pk)
        order.refresh_from_db()
        self.assertTrue(order.receipt.endswith("(de)"))
