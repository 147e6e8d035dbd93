"""``python -m jobctl``."""

import sys

from jobctl.cli import main

if __name__ == "__main__":
    sys.exit(main())
