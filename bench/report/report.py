"""Scaling, peers and limits, measured: ``python -m bench.report [NAME ...] [--smoke]``.

It writes ``report.md`` with tables and pictures, and ``results.json`` with everything that was
measured, to ``bench/report`` or ``--out``. Studies that are named are measured anew, the others
keep what results.json has of them; ``--redraw`` measures nothing, and ``--readme`` puts the tables
and pictures also between the markers ``<!-- report:NAME -->`` of a Markdown file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench import workloads
from bench.measuring import machine, timed
from bench.report import comparison, plots, scaling, tables, work
from bench.report.points import Point
from bench.report.scaling import Scale
from bench.workloads import Sizes, smoke_wanted

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
README_PICTURES = {
    "samples": "Seconds by number of points: two moons, their stages, the dense peers, the limits",
    "clusters": "Seconds, neurons and memory by number of points, at a fixed geometry",
    "peers-digits784-20k": "What memorises digits784-20k: time, size, accuracy on unseen digits",
}


@dataclass(frozen=True)
class Scope:
    """What a run measures.

    Attributes
    ----------
    sizes : Sizes
        Of the cases that the benchmarks have, too.
    scale : Scale
    peers, wide : tuple of Problem
    """

    sizes: Sizes
    scale: Scale
    peers: tuple[comparison.Problem, ...]
    wide: tuple[comparison.Problem, ...]


FULL = Scope(workloads.FULL, scaling.FULL, comparison.PROBLEMS, comparison.WIDE)
SMOKE = Scope(workloads.SMOKE, scaling.SMOKE, comparison.SMOKE, comparison.SMOKE_WIDE)

Points = list[Point]
Pictures = dict[str, Figure]


@dataclass(frozen=True)
class Study:
    """One part of the report.

    Attributes
    ----------
    title : str
    what : str
        Sentence that says what was measured.
    measure : callable
        Scope to points.
    draw : callable
        Points, title and subtitle to the panels' figures, by the end of their names.
    write : callable
        Points to Markdown.
    """

    title: str
    what: str
    measure: Callable[[Scope], Points]
    draw: Callable[[Points, str, str], Pictures]
    write: Callable[[Points], str]


def _pictures(*panels: Callable[[Points], plots.Panel]) -> Callable[[Points, str, str], Pictures]:
    def draw(points: Points, title: str, subtitle: str) -> Pictures:
        return {"": plots.figure([panel(points) for panel in panels], title, subtitle)}

    return draw


def _scaling(
    title: str,
    what: str,
    x: str,
    measure: Callable[[Scale], Points],
    *more: Callable[[Points], plots.Panel],
) -> Study:
    return Study(
        title,
        what,
        lambda scope: measure(scope.scale),
        _pictures(
            lambda points: plots.times(points, x, "fit, predict, peers, limits"),
            lambda points: plots.stages(points, x),
            *more,
        ),
        lambda points: tables.scaling(points, x),
    )


def _neurons(x: str) -> Callable[[Points], plots.Panel]:
    return lambda points: plots.sizes(points, x, "second_width", "neurons", exponents=False)


def _evaluations(x: str) -> Callable[[Points], plots.Panel]:
    return lambda points: plots.sizes(points, x, "evaluations", "(mask, point) pairs counted")


def _draw_rows(points: Points, title: str, subtitle: str) -> Pictures:
    return {
        f"-{_slug(name)}": plots.rows(own, f"{title}: {name}", subtitle)
        for name, own in _by_panel(points).items()
        if any("seconds" in p for p in own)
    }


def _write_rows(points: Points, *, weights: bool = False) -> str:
    parts = []
    for name, own in _by_panel(points).items():
        facts = next((p for p in own if "seconds" in p), {"width": own[0]["width"]})
        head = f"**{name}**, n = {facts['width']:,}"
        if "n_train" in facts:
            head += f", {facts['n_train']:,} points to memorise and {facts['n_unseen']:,} unseen"
        parts += [head, tables.comparison(own, weights=weights)]
    return "\n\n".join(parts)


def _by_panel(points: Points) -> dict[str, Points]:
    panels: dict[str, Points] = {}
    for p in points:
        panels.setdefault(p["panel"], []).append(p)
    return panels


def _slug(name: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in name.lower().replace(",", "")).split()
    return "-".join(words)


_PEERS = (
    "Every row memorises the same training points and predicts the same held-out ones "
    "(30 %, the mean over random splits; a slow row has fewer). Distorted copies of one digit are "
    "all on the same side of a split. The size of a model is that of its file for fastmem "
    "(`net.nbytes`, compressed), and of its zlib-compressed pickle (LightGBM: text) for the others."
)

STUDIES: dict[str, Study] = {
    "samples": _scaling(
        "Points: two moons",
        "Fit of two moons, d = 2, at a fixed width.",
        "N",
        scaling.samples,
        _neurons("N"),
        _evaluations("N"),
    ),
    "clusters": replace(
        _scaling(
            "Points: clusters",
            "Ten Gaussian clusters a class, d = 16, at a fixed width, a fresh process for each N. "
            "The geometry stays, so the widths should, too.",
            "N",
            scaling.clusters_flat,
            _neurons("N"),
            lambda points: plots.memory(points, "N"),
        ),
        write=lambda points: tables.scaling(points, "N") + "\n\n" + tables.memory(points),
    ),
    "dimension": _scaling(
        "Dimension",
        "Ten Gaussian clusters a class in few and many dimensions.",
        "d",
        scaling.dimension,
        _neurons("d"),
    ),
    "width": _scaling(
        "First width",
        "Digits at 28 x 28 pixels, ten classes, through few and many hyperplanes. The dense peers "
        "are left out where they must read more than 40 GB, here at nearly all widths.",
        "n",
        scaling.width,
        _neurons("n"),
        _evaluations("n"),
    ),
    "classes": _scaling(
        "Classes",
        "The same clusters, d = 16, labelled as few and many classes.",
        "classes",
        scaling.classes,
        _neurons("classes"),
        _evaluations("classes"),
    ),
    "random-labels": _scaling(
        "Random labels",
        "Gaussian points with coin-flip labels at a fixed width: the worst case.",
        "N",
        scaling.coin_flips,
        _neurons("N"),
        _evaluations("N"),
    ),
    "threads": Study(
        "Threads",
        "Fit, predict and each compute-bound kernel by number of threads.",
        lambda scope: scaling.threads(scope.scale, scope.sizes),
        _pictures(plots.speedups),
        tables.threads,
    ),
    "counts": Study(
        "Counts and limits",
        "The same masks over the same packed rows: fastmem's kernel, FAISS's binary index, "
        "popcounts of words that never leave the first cache, and a memory copy.",
        lambda scope: scaling.counts(scope.scale, scope.sizes),
        _pictures(plots.rates),
        tables.counts,
    ),
    "work": Study(
        "What fits store and count",
        "Many points of few features, on one thread: two moons with every pattern stored and "
        "counted, and as bounding tiles; flights, late or not, by 8 numbers, whose cells are "
        "looked for among neighbours. Words are those whose ones inside a mask were counted, at "
        "most, by the loops over points; the seconds are these loops' alone, of the processor, "
        "with all that they do between counts. GB/s: points and patterns, once, in the seconds of "
        "the first layer (or of growth, which also looks for points that cannot be covered).",
        lambda scope: work.fits(scope.scale, scope.sizes),
        _pictures(plots.stage_bars),
        tables.work,
    ),
    "peers": Study(
        "Peers",
        _PEERS,
        lambda scope: comparison.compare(scope.peers),
        _draw_rows,
        _write_rows,
    ),
    "wide": Study(
        "digits784-70k through 9,984 hyperplanes",
        "All 70,000 pictures are memorised, once a row; unseen are 10,000 further distortions of "
        "the same digits. Sizes as above.",
        lambda scope: comparison.compare(scope.wide),
        _draw_rows,
        lambda points: _write_rows(points, weights=True),
    ),
}
X_OF = {"samples": "N", "clusters": "N", "dimension": "d", "width": "n", "classes": "classes"}
X_OF["random-labels"] = "N"


def subtitle(result: dict[str, Any]) -> str:
    """Say on what machine a study was measured, in one line."""
    state = result["machine"]
    cores = state["cores for this process"]
    parts = [f"{state['processor']}, {cores} core{'s' * (cores != 1)}", f"NumPy {state['numpy']}"]
    blas = [value for name, value in state.items() if name.startswith(("openblas", "mkl"))]
    parts += [f"BLAS {value}" for value in dict.fromkeys(blas)]
    if result["smoke"]:
        parts.append("smoke run: tiny sizes, no measurement")
    return "; ".join(parts)


def blocks(results: dict[str, Any], pictures: dict[str, list[str]], folder: str) -> dict[str, str]:
    """Write all parts of the report as Markdown, by name.

    Parameters
    ----------
    results : dict of study to what results.json holds of it
    pictures : dict of study to the file names of its pictures
    folder : str
        Where these are, as seen from the file that shows them; "" or ends in a slash.
    """
    parts: dict[str, str] = {}
    for name, result in results.items():
        study = STUDIES[name]
        parts[name] = study.write(result["points"])
    scales = {
        STUDIES[name].title: (X_OF[name], results[name]["points"])
        for name in X_OF
        if name in results
    }
    if scales:
        parts["scaling"] = tables.exponents(scales)
    every = {Path(file).stem: file for files in pictures.values() for file in files}
    shown = [
        f"![{text}]({folder}{every[stem]})"
        for stem, text in README_PICTURES.items()
        if stem in every
    ]
    if shown:
        parts["pictures"] = "\n\n".join(shown)
    if "peers" in results:
        for name, own in _by_panel(results["peers"]["points"]).items():
            parts[f"peers-{_slug(name)}"] = tables.comparison(own)
    if results:
        last = max(results.values(), key=lambda result: result["when"])
        parts["machine"] = subtitle(last) + "."
    return parts


def write_report(results: dict[str, Any], out: Path) -> dict[str, list[str]]:
    """Draw all pictures and write report.md; give the file names of the pictures by study."""
    pictures: dict[str, list[str]] = {}
    for name, result in results.items():
        drawn = STUDIES[name].draw(result["points"], STUDIES[name].title, subtitle(result))
        pictures[name] = []
        for end, picture in drawn.items():
            file = f"{name}{end}.png"
            picture.savefig(out / file)
            pictures[name].append(file)
    parts = blocks(results, pictures, "")
    text = [
        "# Measured: scaling, peers, limits",
        "Made by `python -m bench.report`. Seconds are medians of several runs after one that does "
        "not count, except where a single run is marked; exponents are least-squares fits on the "
        "upper half of each range. sgemm and memory copy are what the first layer alone costs "
        "BLAS, and what the bytes of points and packed patterns cost a copy on one thread.",
    ]
    if "scaling" in parts:
        text += ["## Exponents", parts["scaling"]]
    for name, result in results.items():
        study = STUDIES[name]
        took = f"Measured in {result['seconds']:.0f} s, {result['when']}, on {subtitle(result)}."
        text += [f"## {study.title}", f"`python -m bench.report {name}`. {study.what} {took}"]
        text += [f"![{study.title}]({file})" for file in pictures[name]]
        text += [parts[name]]
    (out / "report.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    return pictures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        epilog="studies: " + ", ".join(STUDIES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies; all by default")
    parser.add_argument("--smoke", action="store_true", default=smoke_wanted(), help="tiny sizes")
    parser.add_argument("--runs", type=int, help="most runs of each point (default 5)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    parser.add_argument(
        "--readme",
        type=Path,
        nargs="?",
        const=README,
        help="also fill the markers of this file (default bench/README.md)",
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in STUDIES]:
        parser.error(f"no study is called {unknown[0]!r}: choose from {', '.join(STUDIES)}")
    if options.runs is not None and options.runs < 1:
        parser.error(f"--runs is {options.runs}: give at least 1")
    scope = SMOKE if options.smoke else FULL
    if options.runs is not None:
        scope = replace(scope, scale=replace(scope.scale, runs=options.runs))

    options.out.mkdir(parents=True, exist_ok=True)
    saved = options.out / "results.json"
    kept = json.loads(saved.read_text(encoding="utf-8")) if saved.exists() else {}
    if options.redraw and not kept:
        parser.error(f"{saved} is not there: run without --redraw first")
    for name in () if options.redraw else options.names or STUDIES:
        print(f"{name} ...", end=" ", flush=True)
        seconds, points = timed(partial(STUDIES[name].measure, scope))
        gc.collect()
        kept[name] = {
            "when": time.strftime("%Y-%m-%d %H:%M"),
            "seconds": seconds,
            "smoke": options.smoke,
            "machine": machine(),
            "points": points,
        }
        print(f"{kept[name]['seconds']:.0f} s", flush=True)
        # after each study, so that an interrupted run keeps what it has
        unfinished = saved.with_suffix(".tmp")
        unfinished.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, saved)
    results = {name: kept[name] for name in STUDIES if name in kept}
    pictures = write_report(results, options.out)
    print(f"{options.out / 'report.md'} and {sum(map(len, pictures.values()))} pictures")
    if options.readme:
        folder = os.path.relpath(options.out, options.readme.resolve().parent)
        parts = blocks(results, pictures, Path(folder).as_posix() + "/")
        done = tables.rewrite(options.readme, parts)
        print(f"{options.readme}: {', '.join(done) or 'no markers of the report'}")
    return 0
