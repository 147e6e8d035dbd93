"""Forms of the dashboard."""

from __future__ import annotations

import html
import re


def pause(page: str, queue: str) -> dict[str, str]:
    """The fields that pause *queue*, from the text of the page of all queues."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page
    return {"action": "pause", "name": queue, "csrf": html.unescape(found[1])}
