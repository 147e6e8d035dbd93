"""Who may use the dashboard, and as what: by permissions, which superusers have all."""

from __future__ import annotations

from django.http import HttpRequest

from jobd.api.roles import Role

ROLES = (
    ("jobd.administer_jobs", Role.ADMIN),
    ("jobd.operate_jobs", Role.OPERATOR),
    ("jobd.view_jobs", Role.VIEWER),
)
"""The highest role first."""


def role_of(request: HttpRequest) -> Role | None:
    """The role of who sends *request*; None if they may not see the dashboard."""
    user = getattr(request, "user", None)
    if user is None or not user.is_active:
        return None
    return next((role for permission, role in ROLES if user.has_perm(permission)), None)
