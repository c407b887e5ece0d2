"""What several commands do with a network: load it, make it, check it, and say what it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fastmem.commands.printing import print_rows, size_of

if TYPE_CHECKING:
    from fastmem import Network
    from fastmem.encoding import Encoding
    from fastmem.tables import ReadingOptions


def load_network(path: Path) -> Network:
    """Load a network, with a sentence about a name that is no file."""
    import fastmem

    if not path.is_file():
        raise fastmem.InvalidInputError(
            f"{path} {'is not a file' if path.exists() else 'does not exist'}: "
            "give a network that fastmem fit has saved."
        )
    return fastmem.load(path)


def is_network(path: Path) -> bool:
    """Whether a file holds a network."""
    import fastmem

    try:
        fastmem.load(path)
    except (fastmem.ModelFileError, OSError):
        return False
    return True


def encoding_for(network: Network, data: Path) -> Encoding | None:
    """What makes numbers of a file's columns; None for arrays, which are numbers already."""
    from fastmem.tables import holds_arrays

    return None if holds_arrays(data) else network.encoding


def points_for(
    network: Network, data: Path, label: str | None, options: ReadingOptions
) -> tuple[Any, Any]:
    """Read points for a network, encoded as at its fit, and their labels or None."""
    from fastmem.tables import load_encoded, load_table

    encode = encoding_for(network, data)
    if encode is None:
        table: Any = load_table(data, label, labels_required=label is not None, options=options)
    else:
        table = load_encoded(data, label, encode, options)
        for note in table.notes:
            typer.secho(f"Warning: {note}.", fg="yellow", err=True)
    return table.points, table.labels


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
    vote = {} if network.readout is None else {"features of the vote": f"{len(network.readout):,}"}
    return {
        "features": f"{network.n_features_in_:,}",
        "classes": f"{len(classes):,} ({shown})",
        "covered classes": ", ".join(str(classes[code]) for code in network.covered),
        **vote,
        "hyperplanes": f"{network.widths[0]:,}",
        "activation": network.second.activation,
        "neurons": f"{network.widths[1]:,}" + (" in order" if network.decision == "list" else ""),
        "parameters": f"{network.n_parameters:,} ({network.n_nonzero:,} not zero)",
        "model size": size_of(network.nbytes),
        **_bits(network),
    }


def _bits(network: Network) -> dict[str, str]:
    """Bits of the model for a training label, where the labels' frequencies are known."""
    if network.label_entropy is None or network.bits_per_label is None:
        return {}
    entropy = f"{network.label_entropy:.4g} where the points are not known"
    return {"bits a label": f"{network.bits_per_label:.4g}, against {entropy}"}


def network_facts(network: Network) -> dict[str, Any]:
    """The facts of `shape_facts` as JSON holds them."""
    classes = network.classes_.tolist()
    facts: dict[str, Any] = {
        "features": network.n_features_in_,
        "feature_names": network.feature_names and list(network.feature_names),
        "classes": classes,
        "covered_classes": [classes[code] for code in network.covered],
        "decision": network.decision,
        "vote_features": None if network.readout is None else len(network.readout),
        "hyperplanes": network.widths[0],
        "activation": network.second.activation,
        "neurons": network.widths[1],
        "parameters": network.n_parameters,
        "nonzero_parameters": network.n_nonzero,
        "model_bytes": network.nbytes,
    }
    if network.label_entropy is not None:
        facts["bits_per_label"] = network.bits_per_label
        facts["label_entropy"] = network.label_entropy
    if network.encoding is not None:
        facts["columns"] = column_facts(network.encoding.rows())
    return facts


def column_facts(rows: Sequence[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """What was made of each column, as JSON holds it."""
    return [{"column": name, "became": became, "features": width} for name, became, width in rows]


def print_columns(title: str, rows: Sequence[tuple[str, str, int]], most: int = 60) -> None:
    """Say in a table what was made of each column."""
    shown = [(name, became, f"{width:,}" if width else "-") for name, became, width in rows[:most]]
    if len(rows) > most:
        left = sum(width for _, _, width in rows[most:])
        shown.append((f"{len(rows) - most:,} more", "", f"{left:,}"))
    print_rows(title, ("column", "became", "features"), shown, left=2)
