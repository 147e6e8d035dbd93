"""The language and the time zone of a push are those of its job.

They travel only where they differ from the settings, so that most payloads stay as they are.
"""

from __future__ import annotations

import zoneinfo
from datetime import timedelta, tzinfo

from django.conf import settings
from django.utils import timezone, translation

from jobd.jobs.propagation import Carried, propagation
from jobd.wire.payload import Payload


class Language:
    """The active language."""

    name = "django.language"

    def current(self) -> str | None:
        if not settings.USE_I18N:
            return None
        language = translation.get_language()
        if language is None or language in (settings.LANGUAGE_CODE, self._usual()):
            return None
        return language

    @staticmethod
    def _usual() -> str | None:
        """What requests of that language have: "en" where the settings say "en-us"."""
        try:
            return translation.get_supported_language_variant(settings.LANGUAGE_CODE)
        except LookupError:
            return None

    def restore(self, value: object) -> None:
        if not isinstance(value, str) or not settings.USE_I18N:
            return
        try:
            known = translation.get_supported_language_variant(value)
        except LookupError:
            return  # not here any more
        translation.activate(known)


class TimeZone:
    """The active time zone, by its name, or by its offset in minutes."""

    name = "django.timezone"

    def current(self) -> str | int | None:
        if not settings.USE_TZ:
            return None
        zone: tzinfo = timezone.get_current_timezone()
        if zone is timezone.get_default_timezone():
            return None
        if isinstance(zone, zoneinfo.ZoneInfo):
            return zone.key
        offset: timedelta | None = zone.utcoffset(None)
        return None if offset is None else offset // timedelta(minutes=1)

    def restore(self, value: object) -> None:
        if type(value) is int and abs(value) < 24 * 60:
            timezone.activate(timezone.get_fixed_timezone(value))
        elif isinstance(value, str):
            try:
                timezone.activate(zoneinfo.ZoneInfo(value))
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                return  # not on this machine


ALL: tuple[Carried, ...] = (Language(), TimeZone())


def carry() -> None:
    """Let both travel."""
    for each in ALL:
        propagation.carry_also(each)


def restore_again(payload: Payload) -> None:
    """Set both in the context of an async job: what a thread has set there, Django does not see."""
    hanging = payload.get("jobd")
    values = hanging.get("context") if isinstance(hanging, dict) else None
    if isinstance(values, dict):
        for each in ALL:
            if each.name in values:
                each.restore(values[each.name])
