"""The version of jobd that is installed."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("jobd")
