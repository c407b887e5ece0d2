"""``python -m bench.check``."""

import sys

from bench.check.check import main

if __name__ == "__main__":
    sys.exit(main())
