"""The manual as a site."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.daemon import environment

ROOT = Path(__file__).parents[2]


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As `make docs` does, with a proxy that nobody serves in the place of the network."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    command = ["sphinx", "-qWE", "--keep-going", "-d", str(target / "doctrees")]
    return subprocess.run(
        [sys.executable, "-m", *command, str(source), str(target / "html")],
        cwd=ROOT,
        env=environment(nowhere),
        capture_output=True,
        text=True,
        check=False,
    )
