"""The dashboard: ``path("jobs/", include("jobd.contrib.django.urls"))``."""

from __future__ import annotations

from django.urls import path, re_path

from jobd.contrib.django.views import dashboard

app_name = "jobd"
urlpatterns = [
    path("", dashboard, name="dashboard"),
    re_path("^(?P<path>.+)$", dashboard, name="page"),
]
