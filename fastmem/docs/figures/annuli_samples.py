"""Interpolation probability and second width of two annuli against their number N.

The same as ``fastmem reproduce annuli-samples``.
"""

# %% Settings
from pathlib import Path

from fastmem.experiments.pictures import samples_picture, save_picture, title_of
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study

TABLE = Path("annuli-samples.csv")
TRIALS = 10
AXES: dict[str, list[float]] = {}  # such as {"N": [1_000, 100_000], "n": [200]}

# %% The trials: some minutes on two cores; goes on where it was interrupted
study = make_study("annuli-samples", axes=AXES, trials=TRIALS)
results = run(study, TABLE, progress=True)

# %% The picture
figure = samples_picture(results, title_of("annuli-samples", results))
save_picture(figure, TABLE.with_suffix(".png"))
