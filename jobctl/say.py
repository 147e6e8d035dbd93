"""Messages of jobctl on standard error; results are written to standard output."""

from __future__ import annotations

import click

from jobd.text.printable import paragraph


def say(text: str) -> None:
    """Print a message."""
    click.echo(f"jobctl: {paragraph(text)}", err=True)
