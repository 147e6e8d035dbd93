"""A model without a table, for the permissions of the dashboard and its link in the admin."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Dashboard(models.Model):
    """Nothing is stored. ``migrate`` makes the permissions; there is no migration."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("view_jobs", "Can see background jobs"),
            ("operate_jobs", "Can retry, delete and pause background jobs"),
            ("administer_jobs", "Can edit and cancel background jobs and stop processes"),
        )
        verbose_name = _("dashboard")
        verbose_name_plural = _("dashboard")
