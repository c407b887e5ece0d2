"""The complexity report of digits784: `python fastmem/docs/figures/complexity.py`."""

# %%
from pathlib import Path

from fastmem.datasets import digits784
from fastmem.experiments.complexity import complexity
from fastmem.experiments.complexity_page import save_page
from fastmem.experiments.complexity_pictures import complexity_picture

HERE = Path(__file__).parent
X, y = digits784(20_000)

# %% The measurements; a minute on two cores
report = complexity(X, y, name="digits784, 20,000 points", seed=0, progress=True)
print(report.seconds, report.gap, report.dimension, report.skipped)
for row in report.widths:
    print(row)

# %% The pictures, and the page with all tables
complexity_picture(report).savefig(HERE / "complexity.png", dpi=90)
save_page(report, Path("digits784.html"))

# %% The ten hardest
for point in report.hardest[:10]:
    print(point)
