"""``jobd new``: writes an application to begin with, which passes its own test."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

from jobd.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", re.ASCII)
_LONGEST = 50
_TAKEN = {"jobd", "jobctl", "jobd_pytest", "redis", "pytest", "conftest", "test"}
_PLACES = {
    "module.txt": "$module.py",
    "test.txt": "test_$module.py",
    "jobd.toml.txt": "jobd.toml",
    "service.txt": "$name.service",
    "readme.txt": "README.md",
}
_REQUIREMENTS = "pyjobd[dev]\npytest\n"


def create(given: str) -> list[Path]:
    """Write the starter into the new or empty directory *given*, whose last part is its name;
    returns the files.

    Raises:
        ConfigError: the name cannot be that of a module, or the directory holds something.
    """
    directory = Path(given).expanduser()
    name = _checked(directory.absolute().name)
    names = {"name": name, "module": name.replace("-", "_"), "title": name}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty; name a new directory")
        written = []
        for template, place in _PLACES.items():
            text = files(__package__).joinpath("starter", template).read_text(encoding="utf-8")
            path = directory / Template(place).substitute(names)
            path.write_text(Template(text).substitute(names), encoding="utf-8")
            written.append(path)
        requirements = directory / "requirements.txt"
        requirements.write_text(_REQUIREMENTS)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be created: {error.strerror}") from None
    return [*written, requirements]


def _checked(name: str) -> str:
    """*name*, if a module may have it."""
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:_LONGEST].rstrip("_")
        instead = f", such as {plain}" if plain and _NAME.fullmatch(plain) else ", such as shop"
        raise ConfigError(
            f"{name} cannot be the name of a module: use up to {_LONGEST} lower-case letters, "
            f"digits, - and _, with a letter first{instead}"
        )
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        raise ConfigError(f"{name} is a word of Python: choose another name, such as my_{module}")
    if module in sys.stdlib_module_names or module in _TAKEN:
        raise ConfigError(
            f"there is a module {module} already, which yours would hide: choose another name, "
            f"such as my_{module}"
        )
    return name
