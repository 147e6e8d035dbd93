"""The addresses: the shop, the admin, and the dashboard for those whom the admin lets see it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from orders import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders/", views.order, name="order"),
    path("admin/", admin.site.urls),
    path("jobs/", include("jobd.contrib.django.urls")),
]
