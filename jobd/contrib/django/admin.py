"""The link to the dashboard in the admin, for those who may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse

from jobd.contrib.django.access import role_of
from jobd.contrib.django.models import Dashboard

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Dashboard]
else:
    _Base = admin.ModelAdmin


@admin.register(Dashboard)
class DashboardAdmin(_Base):
    """Its list is the dashboard. It is shown only where that is among the URLs."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, _obj: object = None) -> bool:
        return _address() is not None and role_of(request) is not None

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False

    def changelist_view(self, _request: HttpRequest, _extra: object = None) -> HttpResponse:
        return HttpResponseRedirect(_address() or "/")


def _address() -> str | None:
    try:
        return reverse("jobd:dashboard")
    except NoReverseMatch:
        return None
