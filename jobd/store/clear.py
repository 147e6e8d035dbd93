"""A Redis client that raises jobd's own errors, for the data API and the tools.

Workers and the keeper use the client library's errors, because they handle each kind differently.
"""

from __future__ import annotations

import redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

from jobd.store.trouble import unavailable


class ClearClient(redis.Redis):
    """A client that raises :class:`jobd.errors.UnavailableError` and shares *client*'s connections.

    NOSCRIPT is passed through: the caller loads the script.
    """

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._owner = client  # keeps it alive: it closes the pool when it is collected

    def execute_command(self, *args: object, **options: object) -> object:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except NoScriptError:
            raise
        except redis.RedisError as error:
            raise unavailable(self, error) from None

    def pipeline(self, transaction: bool = True, shard_hint: object = None) -> Pipeline:
        return _ClearPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )


class _ClearPipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[object]:
        try:
            answers: list[object] = super().execute(raise_on_error)
        except redis.RedisError as error:
            raise unavailable(self, error) from None
        return answers
