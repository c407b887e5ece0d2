"""What the processor is told to do with numbers."""

from __future__ import annotations

import numpy as np


def keeps_subnormals() -> bool:
    """Whether this thread computes with numbers below 2.2e-308, and does not take them for 0.

    A library that gcc linked with -ffast-math turns them off in the thread that loads it.
    """
    return bool(np.full(1, np.nextafter(0.0, 1.0))[0] * 1.0 > 0.0)
