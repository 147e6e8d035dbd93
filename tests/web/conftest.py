"""What the tests of the dashboard share: one on an empty Redis, used by an administrator."""

from __future__ import annotations

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.web import Role
from tests.web.site import Site, as_role


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    """With a prefix: whatever forgets it finds nothing."""
    return Api(redis, "{app}:")


@pytest.fixture
def site(api: Api) -> Site:
    return as_role(api, Role.ADMIN)
