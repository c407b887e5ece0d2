"""Interpolation probability and second width of all ten digits over (n, lambda).

The same as ``fastmem reproduce digits-classes``.
"""

# %% Settings
from pathlib import Path

from fastmem.experiments.pictures import grid_picture, save_picture, title_of
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study

TABLE = Path("digits-classes.csv")
TRIALS = 10
AXES: dict[str, list[float]] = {}  # such as {"n": [100, 200], "lambda": [0.5, 1.0]}

# %% The trials: some minutes on two cores; goes on where it was interrupted
study = make_study("digits-classes", axes=AXES, trials=TRIALS)
results = run(study, TABLE, progress=True)

# %% The picture
save_picture(grid_picture(results, title_of("digits-classes", results)), TABLE.with_suffix(".png"))
