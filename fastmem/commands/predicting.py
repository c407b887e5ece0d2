"""The command predict."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmem.commands.application import DataFile, ModelFile, app, refuse
from fastmem.commands.describing import encoding_for, load_network
from fastmem.commands.printing import share_of
from fastmem.commands.raw_options import (
    Decimal,
    Delimiter,
    Header,
    Missing,
    TextEncoding,
    read_options,
)

if TYPE_CHECKING:
    from fastmem import Network
    from fastmem.tables import ReadingOptions, Stream

WRONG_NAMES = "give the columns of the fit in their order, and name labels with --label"


@app.command()
def predict(
    net: ModelFile,
    data: DataFile,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the labels, csv or npy.", show_default="standard output, one a line"
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Label column of DATA: not a feature, but scored against."),
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Write the score of each class beside the label.")
    ] = False,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="Write the probability of each class beside the label; of a vote only.",
        ),
    ] = False,
    abstain: Annotated[
        float | None,
        typer.Option(
            help="Leave labels empty whose probability is below it; of a vote only.",
            show_default="none",
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="margin or coincidence; the latter of networks with --covered all and a --margin "
            "of 0.5 or more."
        ),
    ] = "margin",
    missing: Missing = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    header: Header = None,
) -> None:
    """Predict the label of every row of a table."""
    import numpy as np

    from fastmem.inputs import check_names
    from fastmem.machine.files import check_output
    from fastmem.machine.progress import terminal_progress
    from fastmem.tables import LABEL_SUFFIXES, label_writer, score_writer

    if scores and probabilities:
        refuse("--scores and --probabilities are two ways to say the same: give one of them")
    values = scores or probabilities
    if out is not None:
        is_text = values or abstain is not None
        check_output(out, (".csv",) if is_text else LABEL_SUFFIXES, inputs=[net, data])
    network = load_network(net)
    if network.readout is None and (probabilities or abstain is not None):
        refuse(
            f"{net} is a network of cells, whose margins are no probabilities: fit with "
            f"--decision vote for --probabilities and --abstain"
        )
    options = read_options(missing, delimiter, decimal, encoding, header)
    rows = _rows(network, data, label, options)
    pairs: Counter[tuple[int, int]] = Counter()
    done = n_labelled = withheld = 0
    # a bar would stand between the labels on a terminal
    bar = nullcontext() if out is None and sys.stdout.isatty() else terminal_progress()
    writer: Any = label_writer
    if values:
        writer = partial(score_writer, what="probability" if probabilities else "score")
    with bar as show, writer(out, network.classes_) as write:
        for block, codes in rows.blocks:
            check_names(rows.feature_names(), network.feature_names, str(data), WRONG_NAMES)
            labels = network.predict(block, abstain=abstain, rule=rule)
            write(labels, *_values(network, block, scores, probabilities))
            if codes is not None:
                known = (codes >= 0) & ~np.ma.getmaskarray(labels)
                withheld += int((codes >= 0).sum() - known.sum())
                n_labelled += int(known.sum())
                pairs.update(_counted(network, np.ma.getdata(labels)[known], codes[known]))
            done += len(block)
            if show is not None:
                show("points", done, max(done, rows.n_rows), 0)
    for sentence in rows.surprises():
        typer.secho(f"Warning: {sentence}.", fg="yellow", err=True)
    if label is not None:
        right = sum(pairs[pair] for pair in _right_pairs(network, rows.classes()))
        typer.echo(f"Accuracy: {share_of(right, n_labelled)}", err=True)
        if withheld:
            typer.echo(f"Labels withheld, not counted: {withheld:,}", err=True)
        if n_labelled + withheld < done:
            unlabelled = done - n_labelled - withheld
            typer.echo(f"Rows without a label, not counted: {unlabelled:,}", err=True)


def _values(network: Network, block: Any, scores: bool, probabilities: bool) -> tuple[Any, ...]:
    """What is written beside the labels."""
    if scores:
        return (network.decision_function(block),)
    if not probabilities:
        return ()
    shares = network.predict_proba(block)
    return (shares if shares.shape[1] > 2 else shares[:, 1],)


def _rows(network: Network, data: Path, label: str | None, options: ReadingOptions) -> Stream:
    """The features of a table, in pieces: encoded as at the fit, or numbers as they stand."""
    from fastmem.tables import stream_encoded, stream_table

    encode = encoding_for(network, data)
    if encode is None:
        return stream_table(data, label, network.feature_names, options=options)
    return stream_encoded(data, label, encode, options)


def _counted(network: Network, labels: Any, codes: Any) -> dict[tuple[int, int], int]:
    """Count the pairs of a true label's number and the predicted class."""
    import numpy as np

    predicted = np.searchsorted(network.classes_, labels)
    pairs, counts = np.unique(np.stack([codes, predicted]), axis=1, return_counts=True)
    return {(int(a), int(b)): int(n) for a, b, n in zip(*pairs, counts, strict=True)}


def _right_pairs(network: Network, truth: Any) -> list[tuple[int, int]]:
    """Give the pairs that agree; labels that the network does not know are simply wrong.

    Numbers and truth values agree with their texts: one word among the labels of a csv file makes
    texts of all of them.
    """
    known: dict[Any, int] = {label: code for code, label in enumerate(network.classes_.tolist())}
    if (network.classes_.dtype.kind in "UO") == (truth.dtype.kind in "UO"):
        return [(i, known[label]) for i, label in enumerate(truth.tolist()) if label in known]
    texts = {text: code for label, code in known.items() for text in _texts(label)}
    found = (next(filter(texts.__contains__, _texts(label)), None) for label in truth.tolist())
    return [(i, texts[text]) for i, text in enumerate(found) if text is not None]


def _texts(label: Any) -> list[str]:
    """Give what a file may hold for a label."""
    whole = isinstance(label, float) and label.is_integer()
    return [str(int(label)), str(label)] if whole else [str(label)]
