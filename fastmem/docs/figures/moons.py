"""Interpolation probability and second width of two moons over (n, lambda).

The same as ``fastmem reproduce moons``; --compare sets it against a published table.
"""

# %% Settings
from pathlib import Path

from fastmem.experiments.comparison import matched, report
from fastmem.experiments.pictures import (
    comparison_picture,
    grid_picture,
    save_picture,
    title_of,
)
from fastmem.experiments.results import read_results
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study

TABLE = Path("moons.csv")
TRIALS = 50
AXES: dict[str, list[float]] = {}  # such as {"n": [100, 200], "lambda": [0.5, 1.0]}
PUBLISHED = Path("published_moons.csv")

# %% The trials: 1,275 cells of 50, about two minutes on two cores; goes on where it was interrupted
study = make_study("moons", axes=AXES, trials=TRIALS)
results = run(study, TABLE, progress=True)

# %% The picture
save_picture(grid_picture(results, title_of("moons", results)), TABLE.with_suffix(".png"))

# %% Against another table of the same grid, if there is one
if PUBLISHED.exists():
    pairs = matched(results, read_results(PUBLISHED)[1])
    print(report(pairs))
    save_picture(comparison_picture(pairs), TABLE.with_name(f"{TABLE.stem}-comparison.png"))
