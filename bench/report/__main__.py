"""``python -m bench.report``."""

import sys

from bench.report.report import main

sys.exit(main())
