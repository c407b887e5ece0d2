"""Second width of pairs of digits, 1 against 8 and 1 against 9, against their number N.

The same as ``fastmem reproduce digits-pairs``.
"""

# %% Settings
from pathlib import Path

from fastmem.experiments.pictures import samples_picture, save_picture, title_of
from fastmem.experiments.running import run
from fastmem.experiments.studies import make_study

TABLE = Path("digits-pairs.csv")
TRIALS = 5
AXES: dict[str, list[float]] = {}  # such as {"N": [1_000], "n": [500]}

# %% The trials: some minutes on two cores; goes on where it was interrupted
study = make_study("digits-pairs", axes=AXES, trials=TRIALS)
results = run(study, TABLE, progress=True)

# %% The picture
figure = samples_picture(results, title_of("digits-pairs", results))
save_picture(figure, TABLE.with_suffix(".png"))
