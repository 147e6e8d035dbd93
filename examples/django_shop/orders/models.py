"""What is stored of an order."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order; its receipt is written by a job."""

    email = models.EmailField()
    item = models.CharField(max_length=100)
    receipt = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.item} for {self.email}"
