"""What a user of the dashboard or of the JSON API may do."""

from __future__ import annotations

from enum import IntEnum

from jobd.errors import ConfigError


class Role(IntEnum):
    """A role; each includes the ones before.

    ``viewer`` looks; ``operator`` also retries, reschedules, pauses and quiets; ``admin`` also
    deletes, clears, edits and stops.
    """

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @classmethod
    def of(cls, name: str) -> Role:
        """The role called *name*.

        Raises:
            ConfigError: it is unknown.

        >>> Role.of("viewer")
        <Role.VIEWER: 1>
        """
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(role.name.lower() for role in cls)
            raise ConfigError(f"unknown role {name!r}; use {known}") from None
