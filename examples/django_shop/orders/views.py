"""The page of the shop, and what its form does."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from orders.jobs import write_receipt
from orders.models import Order


def index(request: HttpRequest) -> HttpResponse:
    """The orders, with their receipts, and a form."""
    return render(request, "orders/index.html", {"orders": Order.objects.order_by("pk")})


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Store an order and push the job that writes its receipt, both or neither."""
    email, item = request.POST.get("email", ""), request.POST.get("item", "")
    try:
        with transaction.atomic():
            stored = Order.objects.create(email=email, item=item)
            # It is pushed when the transaction has been committed.
            write_receipt.perform_async(stored.pk)
            if "@" not in email or not item:
                raise ValueError("an order needs an address and an item")
    except ValueError as error:
        return HttpResponseBadRequest(str(error))
    return redirect("index")
