"""What several commands do with a network: load it, make it, check it, and say what it is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmem.commands.printing import size_of

if TYPE_CHECKING:
    from fastmem import Network

CHECKED_AT_ONCE = 1 << 16


def load_network(path: Path) -> Network:
    """Load a network, with a sentence about a name that is no file."""
    import fastmem

    if not path.is_file():
        raise fastmem.InvalidInputError(
            f"{path} {'is not a file' if path.exists() else 'does not exist'}: "
            "give a network that fastmem fit has saved."
        )
    return fastmem.load(path)


def memorise(X: Any, y: Any, **settings: Any) -> Network:
    """Fit with progress bars; points that were not separated are reported by the caller."""
    import fastmem
    from fastmem.machine.progress import terminal_progress

    with warnings.catch_warnings(), terminal_progress() as show:
        warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
        return fastmem.interpolate(X, y, progress=show, **settings)


def shape_facts(network: Network) -> dict[str, str]:
    """Give the facts about a network that a fit and a model file share."""
    classes = network.classes_.tolist()
    shown = ", ".join(str(name) for name in classes[:10]) + (", ..." if len(classes) > 10 else "")
    return {
        "features": f"{network.n_features_in_:,}",
        "classes": f"{len(classes):,} ({shown})",
        "covered classes": ", ".join(str(classes[code]) for code in network.covered),
        "hyperplanes": f"{network.widths[0]:,}",
        "activation": network.second.activation,
        "neurons": f"{network.widths[1]:,}",
        "parameters": f"{network.n_parameters:,} ({network.n_nonzero:,} not zero)",
        "model size": size_of(network.nbytes),
    }


def n_right(network: Network, X: Any, y: Any) -> int:
    """Count the points that are predicted right, a few at a time."""
    import numpy as np

    from fastmem.inputs import check_points

    points = check_points(X)
    right = 0
    for start in range(0, points.n_samples, CHECKED_AT_ONCE):
        stop = min(start + CHECKED_AT_ONCE, points.n_samples)
        labels = network.predict(points.block(start, stop))
        right += int((labels == np.asarray(y[start:stop]).reshape(-1)).sum())
    return right
