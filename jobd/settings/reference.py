"""Generates the annotated ``etc/jobd.toml`` and the manual's tables from the settings.

Run ``python -m jobd.settings.reference`` at the top of the source tree after a setting has been
added or changed.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from jobd.settings.daemon import SETTINGS
from jobd.settings.dashboard import WEB_FLAGS, WEB_SETTINGS
from jobd.settings.redis_url import OPTIONS
from jobd.settings.schema import Setting

TOML = Path("etc/jobd.toml")
MANUAL = Path("docs/configuration.md")
_BEGIN, _END = "<!-- {}: begin -->\n", "<!-- {}: end -->\n"

_TYPES = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "tuple[str, ...]": "list of texts",
    "tuple[QueueSpec, ...]": "list of queues",
    "tuple[Objective, ...]": "table of queues",
}
_HEAD = """\
# Settings of jobd, with their defaults. Remove the # before those that you change. Environment
# variables override this file, and flags override both. `jobd check -C FILE` checks it and shows
# the settings in effect. See docs/configuration.md.
"""
_WEB_HEAD = """
# The dashboard, `jobd web`. Remove the # of [web], too. See docs/dashboard.md.
#
#[web]
"""
_TAIL = """
# Settings for one environment (-e NAME or $JOBD_ENV) override those above:
#
# [environments.production]
# concurrency = 25
# log_format = "json"
"""


def toml() -> str:
    """The text of etc/jobd.toml, with the defaults commented out."""
    settings, of_web = "".join(map(_entry, SETTINGS)), "".join(map(_entry, WEB_SETTINGS))
    return _HEAD + settings + _WEB_HEAD + of_web + _TAIL


def table(settings: tuple[Setting, ...]) -> str:
    """A Markdown table of *settings*."""
    head = "| setting | type | default | unit | flag | variable | meaning |\n"
    return head + "|---|---|---|---|---|---|---|\n" + "".join(map(_row, settings))


def manual(text: str) -> str:
    """*text*, the manual's page, with its tables regenerated."""
    tables = {
        "settings": table(SETTINGS),
        "url options": url_options(),
        "web settings": table(WEB_SETTINGS),
    }
    for name, made in tables.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + made + end + after
    return text


def url_options() -> str:
    """The table of the options of a Redis URL."""
    rows = "| option | value | only with | meaning |\n|---|---|---|---|\n"
    for name, one in OPTIONS.items():
        scheme = f"`{one.scheme}://`" if one.scheme else ""
        rows += f"| `{name}` | {one.value} | {scheme} | {one.meaning} |\n"
    return rows


def literal(setting: Setting) -> str:
    """The default as TOML."""
    if setting.type == "tuple[Objective, ...]":
        return "{}"
    if isinstance(setting.default, tuple):
        return json.dumps([str(item) for item in setting.default])
    return json.dumps(setting.default)


def limits(setting: Setting) -> str:
    """The limits of a value besides its type: ``1 to 256``, ``console or json``, or ""."""
    if setting.choices:
        return " or ".join(", ".join(setting.choices).rsplit(", ", 1))
    low, high = setting.minimum, setting.maximum
    if high is not None:
        return f"{low:.15g} to {high:.15g}"
    return f"at least {low:.15g}" if low is not None else ""


def _entry(one: Setting) -> str:
    facts = [f"Default: {literal(one)}"]
    facts += [f"unit: {one.unit}"] if one.unit else []
    facts += [f"allowed: {limits(one)}"] if limits(one) else []
    facts += [f"flag: {', '.join(_flags(one))}"] if _flags(one) else []
    facts += [f"variable: {' or '.join(one.env)}"]
    prose = f"{one.help}\n{'; '.join(facts)}."
    lines = [
        wrapped
        for line in prose.split("\n")
        for wrapped in textwrap.wrap(line, 97, break_on_hyphens=False)
    ]
    return "\n" + "".join(f"# {line}\n" for line in lines) + f"#{one.name} = {literal(one)}\n"


def _row(one: Setting) -> str:
    kind = _TYPES[one.type] + (f": {limits(one)}" if limits(one) else "")
    flags = ", ".join(f"`{flag}`" for flag in _flags(one))
    variables = ", ".join(f"`{name}`" for name in one.env)
    cells = (f"`{one.name}`", kind, f"`{literal(one)}`", one.unit, flags, variables, one.help)
    return "| " + " | ".join(cells) + " |\n"


def _flags(one: Setting) -> tuple[str, ...]:
    """The flags of *one*; secrets of the dashboard have none."""
    return one.flags if one not in WEB_SETTINGS or one.name in WEB_FLAGS else ()


if __name__ == "__main__":
    TOML.write_text(toml(), encoding="utf-8")
    MANUAL.write_text(manual(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
