"""The diagrams of the manual are drawn from docs/diagrams.py, and show what the scripts do."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DRAWN: dict[str, Any] = runpy.run_path(str(ROOT / "docs/diagrams.py"))
SCRIPTS = {file.stem: file.read_text() for file in ROOT.glob("jobd/store/lua/*.lua")}
BESIDE_JOBS = {"beat", "cancel", "cancelling", "progress"}
"""They write something about jobs in flight, and move none."""


@pytest.mark.parametrize("name", sorted(DRAWN["DIAGRAMS"]))
def test_a_diagram_is_up_to_date(name: str) -> None:
    for suffix, colors in (("", "LIGHT"), ("-dark", "DARK")):
        drawn = DRAWN["svg"](DRAWN["DIAGRAMS"][name], DRAWN[colors])
        ET.fromstring(drawn)
        file = ROOT / f"docs/images/{name}{suffix}.svg"
        assert file.read_text() == drawn, "run `python docs/diagrams.py`"


def test_the_road_of_a_job_has_every_step_that_leads_into_flight_or_out_of_it() -> None:
    shown = {script for part in DRAWN["ROAD"].parts for script in getattr(part, "scripts", ())}
    assert shown <= SCRIPTS.keys()
    moving = {
        name
        for name, text in SCRIPTS.items()
        if "in-flight hash" in text and ("'HDEL'" in text or "'HSET'" in text)
    }
    assert moving - BESIDE_JOBS <= shown
