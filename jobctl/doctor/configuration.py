"""The checks of the configuration, as ``jobd check`` has them, but for those that need a stopped
daemon or import the application."""

from __future__ import annotations

import os
from collections.abc import Iterator

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.cli.check import check_settings
from jobd.cli.report import Report
from jobd.settings.load import Reading


def look(reading: Reading, file: str | None) -> Report:
    """Check the settings that were read."""
    report = Report(reading)
    check_settings(report, file, os.environ)
    return report


def _problems(report: Report) -> Iterator[Said]:
    for text in [*report.reading.problems, *(text for _, text in report.problems)]:
        yield Said(f"{_sentence(text)}.", "jobd check has more, and imports the application")


def _warnings(report: Report) -> Iterator[Said]:
    for text in report.warnings:
        yield Said(f"{_sentence(text)}.", "jobd check shows what each setting is, and why")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:1].isalpha() and " " in text else text


CHECKS: tuple[Check[Report], ...] = (
    Check("config.settings", Severity.ERROR, "settings that are wrong", _problems),
    Check("config.variables", Severity.WARNING, "variables that mean nothing", _warnings),
)
