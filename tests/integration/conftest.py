"""What tests of several parts of jobd share."""

from __future__ import annotations

import pytest
import redis as redis_py

from jobd import App
from jobd.testing import EmbeddedServer


@pytest.fixture
def app(server: EmbeddedServer, redis: redis_py.Redis) -> App:
    """An application on an empty server."""
    assert redis.ping()
    made = App()
    made.configure(server.url)
    return made
