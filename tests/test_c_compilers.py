"""C headers under the options and on the processors of others: the right labels, or no program."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

import fastmem
from fastmem import datasets
from fastmem.export import c_header, c_templates, to_c
from fastmem.hyperplanes.hyperplanes import Hyperplanes
from fastmem.inputs import InvalidInputError
from fastmem.network.network import Network
from fastmem.second_layer.cover_layer import CoverLayer

FOUND = [path for name in ("cc", "gcc", "clang", "tcc") if (path := shutil.which(name))]
COMPILERS = list({os.path.realpath(path): path for path in FOUND}.values())  # cc is one of them
pytestmark = pytest.mark.skipif(not COMPILERS, reason="there is no C compiler here")
PLAIN = ["-O0", "-O1", "-O2", "-O3", "-O3 -march=native", "-O2 -march=native -ffp-contract=fast"]
FAST = [
    "-Ofast",
    "-O2 -ffast-math",
    "-O3 -march=native -ffast-math",
    "-O2 -funsafe-math-optimizations",
    "-O3 -march=native -funsafe-math-optimizations",
    "-O2 -fassociative-math -fno-signed-zeros -fno-trapping-math",
    "-O3 -march=native -fassociative-math -fno-signed-zeros -fno-trapping-math",
    "-O2 -freciprocal-math",
    "-O2 -ffinite-math-only",
    "-O2 -fno-signed-zeros -fno-trapping-math -fno-rounding-math",
    "-O2 -fsingle-precision-constant",
    "-O2 -mfpmath=387",
    "-O2 -mfpmath=387 -std=gnu89",
    "-O2 -mfpmath=sse+387",
    "-O2 -m32",
    "-O2 -m32 -msse2 -mfpmath=sse",
    "-O2 -flto",
    "-O2 -frounding-math -fexcess-precision=standard",
]


def far_networks():
    """Networks whose bits are decided by the last digits of sums: points on, beside hyperplanes."""
    rng = np.random.default_rng(4)
    for dtype, d in ((np.float32, 3), (np.float32, 40), (np.float64, 5)):
        n = 33
        weights = (rng.integers(-9, 10, (n, d)) * 2.0 ** rng.integers(-20, 20)).astype(np.float32)
        X = rng.integers(-9, 10, (150, d)) * 2.0 ** rng.integers(-30, 30, (1, d))
        X = X.astype(dtype)
        planes = Hyperplanes(weights, -(weights.astype(np.float64) @ X[0]))
        beside = [np.nextafter(X, dtype(way * np.inf)) for way in (-1, 1)]
        bits = rng.random((9, 64 * planes.n_words)) < 0.4
        bits[:, n:] = False
        masks = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
        owners = np.sort(rng.integers(0, 3, 9)).astype(np.int32)
        layer = CoverLayer(masks, rng.integers(1, 12, 9).astype(np.int32), owners)
        yield np.concatenate([X, *beside]), Network(np.arange(3), planes, layer, (0, 1, 2))
    X, y = datasets.digits784(200)
    yield X, fastmem.interpolate(X, y, width=256, seed=0, projection="structured", compact=True)


@pytest.fixture(scope="module")
def networks():
    return list(far_networks())


def labels_or_error(net, X, folder, compiler, options, **settings):
    """Labels in C, or None where the header does not compile."""
    path = folder / "net.h"
    to_c(net, path, points=str(X.dtype), **settings)
    text = path.read_text(encoding="ascii")
    try:
        codes = c_header.compiled(
            text, "net", str(X.dtype), folder, compiler, tuple(options.split())
        )
    except OSError as error:  # built for another machine, so that it cannot be loaded
        assert "-m32" in options, error
        return None
    except InvalidInputError:
        return None
    return net.classes_[codes(X)]


@pytest.mark.parametrize("options", [*PLAIN, *FAST])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_labels_are_right_or_nothing_compiles(networks, tmp_path, compiler, options):
    for (X, net), masks in zip(networks, ("bits", "lists", "bits", "lists"), strict=True):
        found = labels_or_error(net, X, tmp_path, compiler, options, masks=masks)
        if options in PLAIN[:4]:
            assert found is not None
        if found is not None:
            np.testing.assert_array_equal(found, net.predict(X), options)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_exact_sums_are_exact_where_no_macro_tells_of_reordering(
    networks, tmp_path, compiler, monkeypatch
):
    """Without the guards: what is decided in expansions does not hang on the options."""
    guards = re.compile(r"#if[^\n]*(_MATH__|_IEC_559)[^\n]*\n(#if[^\n]*\n)?#error.*\n#endif\n")
    unguarded, n = guards.subn("", c_templates.HEAD)
    assert n >= 2 and "MATH__" not in unguarded
    monkeypatch.setattr(
        "fastmem.export.c_source.HEAD", unguarded.replace("#endif\n#endif", "#endif")
    )
    for X, net in networks[:3]:
        found = labels_or_error(
            net,
            X,
            tmp_path,
            compiler,
            "-O2 -fassociative-math -fno-signed-zeros -fno-trapping-math",
            arithmetic="float64",
        )
        if found is not None:
            np.testing.assert_array_equal(found, net.predict(X))


def refusal(tmp_path, net, options, files=(), **settings):
    """What the compiler says about a header under macros of other compilers."""
    path = tmp_path / "net.h"
    to_c(net, path, **settings)
    for name, text in files:
        (tmp_path / name).write_text(text)
    source = tmp_path / "main.c"
    source.write_text('#include "net.h"\nint main(void) { return net_predict(0); }\n')
    command = [COMPILERS[0], "-std=c99", "-fsyntax-only", f"-I{tmp_path}", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else None


@pytest.fixture(scope="module")
def moons():
    X, y = datasets.unit_moons(80)
    return fastmem.interpolate(X, y, width=64, seed=0)


@pytest.mark.parametrize(
    ("macro", "cure"),
    [
        ("__FAST_MATH__", "without -ffast-math"),
        ("__FP_FAST", "without -ffast-math"),
        ("__ASSOCIATIVE_MATH__", "-fassociative-math"),
        ("__RECIPROCAL_MATH__", "-freciprocal-math"),
        ("__FINITE_MATH_ONLY__", "-ffinite-math-only"),
        ("_M_FP_FAST", "/fp:precise"),
    ],
)
def test_macros_of_fast_models_are_refused_with_the_cure(tmp_path, moons, macro, cure):
    assert refusal(tmp_path, moons, []) is None
    for exact in (True, False):
        assert cure in refusal(tmp_path, moons, [f"-D{macro}=1"], exact=exact)


def test_older_gcc_tells_by_what_it_no_longer_claims(tmp_path, moons):
    older = ["-U__GNUC__", "-D__GNUC__=9", "-U__GCC_IEC_559"]
    assert "-funsafe-math" in refusal(tmp_path, moons, [*older, "-D__GCC_IEC_559=0"])
    assert refusal(tmp_path, moons, [*older, "-D__GCC_IEC_559=2"]) is None


def other_header(name, **macros):
    lines = [f"#include_next <{name}>"]
    for macro, value in macros.items():
        lines += [f"#undef {macro}", f"#define {macro} {value}"]
    return name, "\n".join(lines) + "\n"


def test_processors_with_other_numbers_are_refused(tmp_path, moons):
    short_double = [other_header("float.h", DBL_MANT_DIG=24)]
    assert "double has not 53 bits" in refusal(tmp_path, moons, [], short_double)
    # where there is no double at all, none is missed
    assert refusal(tmp_path, moons, [], short_double, exact=False) is None
    for settings in ({"points": "float64"}, {"arithmetic": "float64"}):
        said = refusal(tmp_path, moons, [], short_double, exact=False, **settings)
        assert "double has not 53 bits" in said
    other_float = [other_header("float.h", FLT_MANT_DIG=21)]
    assert "float is not that of IEEE 754" in refusal(tmp_path, moons, [], other_float, exact=False)
    for method in (-1, 2):
        extended = [other_header("float.h", FLT_EVAL_METHOD=method)]
        assert "extended precision" in refusal(tmp_path, moons, [], extended)


def test_an_int_of_16_bits_is_enough(tmp_path, moons):
    """Emulated: limits.h says so, and the compiler's popcount takes 16 bits, as it does there."""
    X, _ = datasets.unit_moons(80)
    to_c(moons, tmp_path / "net.h", masks="bits", points="float64")
    text = (tmp_path / "net.h").read_text()
    short = (
        "#include <limits.h>\n#undef UINT_MAX\n#define UINT_MAX 65535\n"
        "static inline int short_count(unsigned short v) { return __builtin_popcountl(v); }\n"
        "#define __builtin_popcount short_count\n"
    )
    for gnu in (True, False):  # also the branch that knows no popcount
        other = text if gnu else text.replace("defined(__GNUC__)", "0")
        codes = c_header.compiled(
            short + other, "net", "float64", tmp_path, COMPILERS[0], ("-O2", "-Wno-unused-function")
        )
        points = X.astype(np.float64)
        np.testing.assert_array_equal(moons.classes_[codes(points)], moons.predict(points))


def test_no_index_is_an_int_that_16_bits_cannot_hold(tmp_path):
    X, y = datasets.digits784(100)
    for settings in ({}, {"projection": "structured", "compact": True}):
        net = fastmem.interpolate(X, y, width=256, seed=0, **settings)
        for masks in ("bits", "lists"):
            to_c(net, tmp_path / "a.h", masks=masks, points="float64")
            text = re.sub(r"/\*.*?\*/", "", (tmp_path / "a.h").read_text(), flags=re.S)
            # what an int may count: lanes, rounds, components of an expansion
            small = {"l", "t", "n", "i, kept = 0", "@", "usable", "found"}
            for names in re.findall(r"(?<![\w*])int ([^;()]*?)(?: = [^;]*)?;", text):
                assert set(names.split(", ")) <= small | {"i", "kept = 0", "kept"}, names
    said = refusal(tmp_path, net, [], [other_header("limits.h", INT_MAX=len(net.classes_) - 1)])
    assert "int cannot hold the number of a class" in said


@pytest.mark.parametrize("projection", ["gaussian", "structured"])
def test_without_exact_sums_there_is_no_double(tmp_path, projection):
    """Biases of fits are doubles; in a header of floats they are rounded first."""
    X, y = datasets.digits784(150)
    net = fastmem.interpolate(X, y, width=256, seed=0, projection=projection)
    if projection == "structured":
        first = net.first
        planes = fastmem.StructuredHyperplanes(
            first.signs, first.rows, first.extra, first.biases * (1 + 1e-12)
        )
        net = Network(net.classes_, planes, net.second, net.covered)
    assert not (net.first.biases.astype(np.float32) == net.first.biases).all()
    report = to_c(net, tmp_path / "a.h", X, y, exact=False, arithmetic="float32")
    text = (tmp_path / "a.h").read_text()
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    assert "double" not in code
    assert not re.findall(r"(?<![\w.])\d+\.\d+(?:e[+-]?\d+)?(?![\w.])", code)  # all end in f
    options = ("-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wdouble-promotion")
    labels = net.classes_[
        c_header.compiled(text, "a", "float32", tmp_path, COMPILERS[0], options)(X)
    ]
    assert np.flatnonzero(labels != net.predict(X)).tolist() == report.rows.tolist()


def test_biases_beyond_floats_are_numbers_too(tmp_path):
    layer = CoverLayer(np.ones((1, 1), np.uint64), np.ones(1, np.int32), np.zeros(1, np.int32))
    planes = Hyperplanes(np.ones((2, 1), np.float32), np.array([1e300, -1e300]))
    net = Network(np.array([5, 9]), planes, layer, (0,))
    X = np.array([[1.0], [-1.0]], np.float32)
    assert to_c(net, tmp_path / "a.h", X, exact=False).exact


NAMES = [
    "*/ int x = 1; /*",
    "line\nbreak\r\\",
    "??/",
    "caf\u00e9 \u6771\u4eac \u202e",
    "@p @UP @names %s",
    "",
    "\t7\0",
    "km/h",
    "\ud800",
]


def test_names_of_features_are_comments_and_nothing_else(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, len(NAMES))).astype(np.float32)
    y = np.arange(30) % 2
    plain = fastmem.interpolate(X, y, seed=0)
    net = Network(plain.classes_, plain.first, plain.second, plain.covered, feature_names=NAMES)
    options = ("-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-trigraphs")
    to_c(net, tmp_path / "a.h")
    text = (tmp_path / "a.h").read_text(encoding="ascii")
    codes = c_header.compiled(text, "a", "float32", tmp_path, COMPILERS[0], options)
    np.testing.assert_array_equal(net.classes_[codes(X)], net.predict(X))
    comment = text[text.index("x[k] is the column:") : text.index("*/")]
    lines = [line.split(maxsplit=1) for line in comment.splitlines()[1:]]
    assert [int(k) for k, _ in lines] == list(range(len(NAMES)))
    assert [json.loads(name) for _, name in lines] == NAMES
    to_c(plain, tmp_path / "a.h")
    assert "is the column" not in (tmp_path / "a.h").read_text()


@pytest.mark.parametrize("compiler", [c for c in ("g++", "clang++") if shutil.which(c)])
def test_the_header_is_c_plus_plus_too(networks, tmp_path, compiler):
    for _, net in networks:
        to_c(net, tmp_path / "net.h", points="float64")
        source = tmp_path / "main.cpp"
        call = "int code(const net_point *x) { return net_predict(x) + (int)net_labels[0]; }"
        source.write_text(f'#include "net.h"\n{call}\n')
        options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-c", "-o", "main.o"]
        subprocess.run([compiler, *options, str(source)], cwd=tmp_path, check=True)


def test_no_library_turns_subnormal_numbers_off(tmp_path):
    """What gcc links for -ffast-math does, in the whole thread that loads it."""
    text = (
        "#define NET_FEATURES 1\ntypedef double net_point;\n"
        "static int net_predict(const double *x) { return x[0] > 0; }\n"
    )
    options = ("-O2", "-ffast-math")
    codes = c_header.compiled(text, "net", "float64", tmp_path, COMPILERS[0], options)
    assert codes(np.array([[1.0], [-1.0]])).tolist() == [1, 0]
    assert np.array([5e-324])[0] * 1.0 > 0
