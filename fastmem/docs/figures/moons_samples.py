"""Interpolation probability and second width of two moons against their number N.

The same as ``fastmem reproduce moons-samples``.
"""

# %% Settings
from pathlib import Path

from fastmem.experiments.pictures import samples_picture, save_picture, title_of
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study

TABLE = Path("moons-samples.csv")
TRIALS = 20
AXES: dict[str, list[float]] = {}  # such as {"N": [1_000, 100_000], "n": [200]}

# %% The trials: some minutes on two cores; goes on where it was interrupted
study = make_study("moons-samples", axes=AXES, trials=TRIALS)
results = run(study, TABLE, progress=True)

# %% The picture
save_picture(
    samples_picture(results, title_of("moons-samples", results)), TABLE.with_suffix(".png")
)
