"""What ``jobd check`` and ``jobctl doctor`` have found about a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobd.errors import Exit
from jobd.settings.load import Reading


@dataclass(slots=True)
class Report:
    """The result of the check.

    *problems* are pairs of the exit code at a start and a text; *prepared* are the paths that root
    would create or chown before it changes to the service user.
    """

    reading: Reading
    problems: list[tuple[Exit, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    prepared: set[Path] = field(default_factory=set)

    @property
    def code(self) -> Exit:
        return self.problems[0][0] if self.problems else Exit.OK

    def problem(self, code: Exit, text: str) -> None:
        self.problems.append((code, text))
