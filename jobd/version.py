"""The version of jobd that is installed.

The distribution is called ``pyjobd``: the ``jobd`` of PyPI is another program. A copy that runs
without having been installed has no version.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "pyjobd"

try:
    VERSION = version(DISTRIBUTION)
except PackageNotFoundError:
    VERSION = "0"
