"""Both studies on points of one's own, here three shells around the origin.

The same as ``fastmem reproduce grid DATA`` and ``fastmem reproduce samples DATA`` of a file.
"""

# %% Settings
from pathlib import Path

from fastmem.datasets import spheres
from fastmem.experiments.pictures import grid_picture, samples_picture, save_picture, title_of
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study

TABLE = Path("shells-grid.csv")
TRIALS = 20
AXES: dict[str, list[float]] = {}
X, y = spheres(5_000, 3, n_shells=3, gap=0.2)

# %% Over (n, lambda)
results = run(make_study("grid", axes=AXES, trials=TRIALS, data=(X, y)), TABLE, progress=True)
save_picture(grid_picture(results, title_of("shells", results)), TABLE.with_suffix(".png"))

# %% Over N
SAMPLES_TABLE = TABLE.with_name("shells-samples.csv")
study = make_study("samples", axes=AXES, trials=TRIALS, data=(X, y))
results = run(study, SAMPLES_TABLE, progress=True)
save_picture(
    samples_picture(results, title_of("shells", results)), SAMPLES_TABLE.with_suffix(".png")
)
