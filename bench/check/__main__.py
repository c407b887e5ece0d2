"""``python -m bench.check``."""

import sys

from bench.check.check import main

sys.exit(main())
