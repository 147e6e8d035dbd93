"""The checks of permissions (ACL): whether a user of Redis may do what the daemon does.

The commands are sent inside MULTI, where Redis checks the permission for each and executes none;
the connection is closed without EXEC. So nothing is changed, and the user needs no permission to
read the ACL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import redis
from redis.client import PubSub
from redis.exceptions import NoPermissionError, RedisError

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.api.session import Session
from jobd.store import control
from jobd.store.keys import Keys
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack
from jobd.store.trouble import unavailable

PATIENCE = 5.0
"""Seconds for the answer to SUBSCRIBE."""

_DIGEST = "0" * 40

NEEDED = (
    *("PING", f"EVALSHA {_DIGEST} 1 K", "SCRIPT LOAD x", "BITFIELD K GET u8 0"),
    *("BLMOVE K K LEFT RIGHT 1", "DEL K", "EXISTS K", "EXPIRE K 1", "HDEL K a", "HEXISTS K a"),
    *("HGET K a", "HGETALL K", "HINCRBY K a 1", "HKEYS K", "HLEN K", "HMGET K a", "HSCAN K 0"),
    *("HSET K a b", "HSETNX K a b", "INCRBY K 1", "LINDEX K 0", "LLEN K", "LPOP K", "LPUSH K a"),
    *("LRANGE K 0 0", "LTRIM K 0 0", "PERSIST K", "PEXPIRE K 1", "PTTL K", "RPOP K", "RPUSH K a"),
    *(
        "SADD K a",
        "SET K a",
        "SISMEMBER K a",
        "SMEMBERS K",
        "SREM K a",
        "SSCAN K 0",
        "STRLEN K",
        "TIME",
    ),
    *("TYPE K", "UNLINK K", "ZADD K 1 a", "ZCARD K", "ZCOUNT K 0 1", "ZRANGE K 0 0"),
    *(
        "GETRANGE K 0 0",
        "SETRANGE K 0 a",
        "ZRANGEBYSCORE K 0 1",
        "ZREM K a",
        "ZREMRANGEBYRANK K 0 0",
        "ZSCAN K 0",
        "ZSCORE K a",
    ),
)
"""What the daemon sends; K is a key. docs/acl.md has the same."""

OPTIONAL = {
    "INFO": "the warning that Redis is nearly full, or may evict jobs",
    "CLIENT ID": "waiting for jobs without polling",
    "CLIENT UNBLOCK 1": "waiting for jobs without polling",
    "CLIENT TRACKING on": "watching more than 16 queues without polling",
}
"""What it can do without, and what it then lacks."""


def keys_of(prefix: str) -> list[str]:
    """A key of each family that the daemon writes."""
    keys = Keys(prefix)
    named = (keys.queues, keys.schedule, keys.retry, keys.dead, keys.paused, keys.processes)
    return [*named, keys.queue("default"), keys.processed, keys.owners, keys.process("host:1:a")]


def denied(client: redis.Redis, commands: Sequence[Sequence[str]]) -> list[str]:
    """Why these commands are denied: the sentence of the server for each that is.

    Raises:
        redis.RedisError: the server does not answer, or does not allow MULTI.
    """
    wire = Wire(client)
    try:
        wire.connect()
        wire.send(b"".join(pack(*command) for command in [["MULTI"], *commands]))
        wire.read()
        found = []
        for _ in commands:
            try:
                wire.read()
            except NoPermissionError as error:
                found.append(str(error))
            except redis.ResponseError:
                pass  # it is full, or a replica: another check says so
        return found
    finally:
        wire.close()


def channel_denied(client: redis.Redis, prefix: str) -> str:
    """Why workers may not listen on the control channel; "" if they may.

    Raises:
        redis.RedisError: the server does not answer.
    """
    with PubSub(client.connection_pool) as listener:
        try:
            listener.subscribe(control.channel(Keys(prefix), control.database(client)))
            listener.get_message(timeout=PATIENCE)
        except NoPermissionError as error:
            return str(error)
    return ""


def channel_warning(error: str) -> str:
    """What it means that they may not."""
    return (
        "workers may not listen on the control channel, so what is sent to them from "
        f"dashboards takes effect with their next heartbeat, within ten seconds ({error})"
    )


def channel_advice(prefix: str) -> str:
    """What to do about it."""
    return f"allow it with ACL SETUSER ... +subscribe {control.rule(prefix)}"


def _asked(session: Session, commands: Sequence[Sequence[str]]) -> list[str]:
    try:
        return denied(session.redis, commands)
    except RedisError as error:
        raise unavailable(session.redis, error) from None


def _commands(session: Session) -> Iterator[Said]:
    key = session.keys.queue("default")
    sent = [[key if word == "K" else word for word in each.split()] for each in NEEDED]
    if refused := _asked(session, sent):
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        yield Said(f"The daemon lacks a permission: {refused[0]}{more}.", _ADVICE)


def _keys(session: Session) -> Iterator[Said]:
    names = keys_of(session.keys.prefix)
    for name in names:
        if _asked(session, [["TYPE", name], ["UNLINK", name]]):
            yield Said(f"The daemon may not write the key {name}.", _ADVICE)
            return


def _optional(session: Session) -> Iterator[Said]:
    lacking = {
        what: None for command, what in OPTIONAL.items() if _asked(session, [command.split()])
    }
    if lacking:
        yield Said(f"Permissions are missing for {'; for '.join(lacking)}.", _ADVICE)


def _channel(session: Session) -> Iterator[Said]:
    try:
        error = channel_denied(session.redis, session.keys.prefix)
    except RedisError as problem:
        raise unavailable(session.redis, problem) from None
    if error:
        said = channel_warning(error)
        yield Said(f"{said[0].upper()}{said[1:]}.", channel_advice(session.keys.prefix))


_ADVICE = "give the user what docs/acl.md lists: redis-cli ACL SETUSER, then ACL SAVE"

CHECKS: tuple[Check[Session], ...] = (
    Check("acl.commands", Severity.ERROR, "the commands that the daemon sends", _commands),
    Check("acl.keys", Severity.ERROR, "the keys that it writes", _keys),
    Check("acl.optional", Severity.WARNING, "commands that it can do without", _optional),
    Check("acl.channel", Severity.WARNING, "the control channel", _channel),
)
