"""Waiting for Redis while a worker boots: its master limits how long, and shows why."""

from __future__ import annotations

import time

import redis

from jobd.errors import UnavailableError
from jobd.runtime.child.mainloop import Child
from jobd.runtime.ipc import messages
from jobd.store.loops import Outage
from jobd.store.server import identify
from jobd.store.trouble import reason


def wait_for_redis(child: Child, client: redis.Redis) -> None:
    """Wait until the server answers, or the child ends; it goes on turning meanwhile.

    Raises:
        UnavailableError: it is too old, or refuses the password.
    """
    outage, told = Outage(child.log, client), ""
    while not child.ended():
        try:
            identify(client).require()
        except redis.AuthenticationError as error:
            raise UnavailableError(f"Redis refuses the password: {reason(error)}") from error
        except redis.RedisError as error:
            pause = outage.failed(error)
            if (note := f"waiting for Redis: {reason(error)}") != told:
                told = note
                child.tell(messages.Booting(note))
            until = time.monotonic() + pause
            while not child.ended() and (left := until - time.monotonic()) > 0:
                child.turn(left)
        else:
            outage.over()
            return
