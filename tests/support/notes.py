"""The beginning of applications whose jobs note what they do, in Redis.

They do so on a connection of their own, to the server that the variable ``NOTES`` names, so that
what is proved does not hang on what is tested.
"""

from __future__ import annotations

import textwrap

_CONNECTED = """
    import os, time
    import redis
    from jobd import current_job, job, on

    notes = None

    @on("startup")
    def connect():
        global notes
        if "NOTES" in os.environ:
            notes = redis.Redis.from_url(os.environ["NOTES"])
"""


def noting(jobs: str) -> str:
    """The source of an application with these *jobs*, which may be indented."""
    return textwrap.dedent(_CONNECTED) + textwrap.dedent(jobs)
