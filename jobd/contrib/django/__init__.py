"""jobd in a Django project: put ``"jobd.contrib.django"`` into ``INSTALLED_APPS``.

Jobs are found in the module ``jobs`` of each app, pushes wait for the commit of the transaction in
which they are made, and a worker cares for database connections as Django does around requests.
"""

from __future__ import annotations

from jobd.contrib.django.commit import now, on_commit

__all__ = ["now", "on_commit"]
