"""What a Django project says of jobd, where no application is named.

It is asked in a child process, as the user that the daemon will be: neither the command line nor
the master imports code of applications.
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
from jobd.master.privileges import service_user
from jobd.settings.django_project import VARIABLE, WORKER, find

if TYPE_CHECKING:
    from jobd.settings.daemon import Config
    from jobd.settings.load import Reading

SECONDS = 60.0
"""That the settings may take to be imported."""


def below(reading: Reading, environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that a Django project adds to *reading*, if that names no application.

    Raises:
        ApplicationError: the project's settings cannot be imported.
    """
    config = reading.config
    if "require" in reading.wrong or (config.require and WORKER not in config.require):
        return {}
    project = find(config.directory, environment)
    if project is None:
        return {}
    found = _ask(config, environment)
    if error := found.pop("error", ""):
        raise ApplicationError(error)
    return {"require": [WORKER], **found}


def _ask(config: Config, environment: Mapping[str, str]) -> dict[str, str]:
    directory = config.directory or str(Path.cwd())
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "jobd.contrib.django.project", str(writing), directory]
    with os.fdopen(reading, "rb") as pipe:
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[writing],
                timeout=SECONDS,
                check=False,
                **_service_user(config),
            )
        except subprocess.TimeoutExpired:
            seconds = f"{SECONDS:g} s"
            return {"error": f"importing the settings of the Django project took over {seconds}"}
        except OSError as error:
            reason = error.strerror or str(error)
            return {"error": f"the settings of the Django project cannot be imported: {reason}"}
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        answer = pipe.read() or b""
    if answer:
        found: dict[str, str] = json.loads(answer)
        return found
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = f": {said[-1]}" if said else ""
    return {"error": f"importing the settings ({VARIABLE}) ended with {done.returncode}{last}"}


def _service_user(config: Config) -> dict[str, Any]:
    user = service_user(config)
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}
