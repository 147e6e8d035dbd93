"""The type of a value that was read from JSON, as msgspec decodes it."""

from __future__ import annotations

from typing import Any

JsonValue = bool | int | float | str | list[Any] | dict[str, Any] | None
"""Written out for msgspec, which has no recursive types; it is decoded as fast as ``Any``."""
