"""The type of a value that was read from JSON, as msgspec decodes it; what is raised otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

Array = list[Any]
Object = dict[str, Any]

JsonValue = bool | int | float | str | Array | Object | None
"""For msgspec, which has no recursive types; it is decoded as fast as one that is not checked."""

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""Raised for bytes that are not JSON, not of the type that was asked for, or nested too deeply."""

UNWRITABLE = (*UNREADABLE, TypeError, OverflowError)
"""Raised for a value that JSON cannot carry."""
