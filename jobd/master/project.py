"""What a Django project says of jobd, where no application is named.

It is asked in a child process, as the user that the daemon will be: neither the command line nor
the master imports code of applications. That user may have written the project. So the child has
nothing of root's session, and of its answer only the settings that a project may have are used:
others, such as the group or the log file, decide what root does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobd.errors import ApplicationError
from jobd.master import session
from jobd.master.privileges import require_roots, service_user
from jobd.settings.django_project import VARIABLE, WORKER, find
from jobd.wire.json_value import UNREADABLE

if TYPE_CHECKING:
    from jobd.settings.daemon import Config
    from jobd.settings.load import Reading

SECONDS = 60.0
"""That the settings may take to be imported."""

_NAMES = ("redis", "prefix")
_MOST_BYTES = 65_536
_WHO = {"user", "group"}


def below(
    reading: Reading, environment: Mapping[str, str], file: str | None = None
) -> dict[str, object]:
    """The settings that a Django project adds to *reading*, if that names no application.

    Args:
        file: the configuration, if root must not use it while others can change it.

    Raises:
        ApplicationError: the project's settings cannot be imported.
        ConfigError: the service user does not exist, or root does not use the configuration.
    """
    config = reading.config
    if "require" in reading.wrong or (config.require and WORKER not in config.require):
        return {}
    if os.geteuid() == 0 and _WHO & reading.wrong:
        return {}  # it is not known as whom to ask; the caller reports the setting
    project = find(config.directory, environment)
    if project is None:
        return {}
    require_roots(file, config, reading.origins)
    found = _ask(config, environment)
    if error := found.get("error", ""):
        raise ApplicationError(error)
    return {"require": [WORKER], **{name: found[name] for name in _NAMES if name in found}}


def _ask(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    directory = config.directory or str(Path.cwd())
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "jobd.contrib.django.project", str(writing), directory]
    with os.fdopen(reading, "rb") as pipe:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[writing],
                timeout=SECONDS,
                check=False,
                start_new_session=True,
                **_service_user(config, environment, directory),
            )
        except subprocess.TimeoutExpired:
            seconds = f"{SECONDS:g} s"
            return {"error": f"importing the settings of the Django project took over {seconds}"}
        except OSError as error:
            reason = error.strerror or str(error)
            return {"error": f"the settings of the Django project cannot be imported: {reason}"}
        except subprocess.SubprocessError:
            return {"error": f"the service user cannot enter {directory}, the Django project"}
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        answer = pipe.read(_MOST_BYTES) or b""
    if answer:
        return _read(answer)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = f": {said[-1]}" if said else ""
    return {"error": f"importing the settings ({VARIABLE}) ended with {done.returncode}{last}"}


def _read(answer: bytes) -> dict[str, str]:
    try:
        found = json.loads(answer)
        return {name: value for name, value in found.items() if isinstance(value, str)}
    except (AttributeError, *UNREADABLE):
        return {"error": "the settings of the Django project wrote into jobd's pipe"}


def _service_user(config: Config, environment: Mapping[str, str], directory: str) -> dict[str, Any]:
    user = service_user(config)
    if user is None:
        return {"env": environment, "cwd": directory}

    def enter() -> None:
        """After the change of user, whose own rights must be enough for the directory."""
        session.leave_keys()
        os.chdir(directory)

    reduced = dict(environment)
    session.reduce(reduced, user.name, user.home, user.shell)
    groups = os.getgrouplist(user.name, user.gid) if user.name else [user.gid]
    rights = {"user": user.uid, "group": user.gid, "extra_groups": groups}
    return {"env": reduced, "preexec_fn": enter, **rights}
