"""The part of ``jobd check`` that asks Redis: the version, and what in its settings endangers jobs.

The checks are those of ``jobctl doctor`` and the dashboard (:mod:`jobd.api.diagnosis`).
"""

from __future__ import annotations

from jobd.cli.report import Report
from jobd.errors import Exit, JobdError
from jobd.settings.daemon import Config
from jobd.settings.redis_url import redact

SECONDS = 5.0
"""Seconds for each answer of the server."""


def check_redis(report: Report, config: Config) -> None:
    """Ask the server, and add what is wrong to *report*."""
    if "redis" in report.reading.wrong:
        return
    from redis.exceptions import NoPermissionError, RedisError

    from jobd.api.diagnosis import findings, permissions, server
    from jobd.store.connection import connect
    from jobd.store.server import identify
    from jobd.store.trouble import reason

    where = redact(config.redis)
    try:
        with connect(config.redis, timeout=SECONDS) as client:
            found = identify(client)
            found.require()
            try:
                facts = server.gather(client, trips=0)
            except NoPermissionError as error:
                report.warnings.append(
                    f"the memory limit of the server at {where}, and whether it evicts jobs when "
                    f"its memory is full, are unknown: {reason(error)}"
                )
            else:
                report.warnings += [
                    f"the server at {where}: {each.text}"
                    for each in findings.run(server.SETTINGS, facts)
                ]
            if denied := permissions.channel_denied(client, config.prefix):
                said = permissions.channel_warning(denied)
                report.warnings.append(f"{said}: {permissions.channel_advice(config.prefix)}")
    except (RedisError, OSError, ValueError) as error:
        text = f"Redis at {where} does not answer: {reason(error)}"
        report.problem(Exit.UNAVAILABLE, text)
        return
    except JobdError as error:
        report.problem(error.exit_code, f"Redis at {where}: {error}")
        return
    report.facts.append(f"server: {found} at {where}")
