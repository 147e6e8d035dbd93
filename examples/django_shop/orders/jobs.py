"""The jobs of the app, which `jobd run` finds by the name of this module."""

from __future__ import annotations

from django.db import transaction
from django.utils import formats, timezone
from django.utils.translation import get_language

from jobd import job
from orders.models import Order


@job(queue="mail", retry=5)
def write_receipt(order_id: int) -> None:
    """Write the receipt, once: a second run does no harm."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if order.receipt:
            return
        day = formats.date_format(timezone.localtime(order.created), "DATE_FORMAT")
        order.receipt = f"{order.item}, {day} ({get_language()})"
        order.save(update_fields=["receipt"])
    count_orders.perform_async()


@job(queue="default")
async def count_orders() -> int:
    """How many there are, by an async job."""
    return await Order.objects.acount()
