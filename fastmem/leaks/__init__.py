"""What a network gives away of its training points: membership, stored records, reconstructions."""

from fastmem.leaks.auditing import audit
from fastmem.leaks.page import save_page
from fastmem.leaks.report import (
    LeakReport,
    MaskTest,
    Membership,
    Reconstruction,
    StoredRecords,
)

__all__ = [
    "LeakReport",
    "MaskTest",
    "Membership",
    "Reconstruction",
    "StoredRecords",
    "audit",
    "save_page",
]
