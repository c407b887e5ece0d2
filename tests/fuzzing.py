"""Hostile files for the readers and for the model file, tried in child processes.

Each input is made from its kind and its number, so `python tests/fuzzing.py csv 1234` repeats one.
A child takes a range of numbers and writes each before it tries it: where the child dies, hangs or
takes much memory, the parent knows the number, notes it and goes on with the next.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import math
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from interrupting import used

SEAL = b"fastmem model, sha256 of all before: "
MOST_MEMORY = 400 << 20
"""Bytes that the process may grow by in one trial. The files have some kilobytes, and a model file
may unpack to 64 MiB; Arrow believes a parquet file's lists of up to a million entries, some 300 MB,
before it looks for them."""
ADDRESS_SPACE = 8 << 30
SECONDS = 60
"""Of processor time that one trial may take, or ten times as many by the clock: the first of a
process may compile, and others have the processors, too."""
EVERY_COMMAND = 40
"""One trial in so many goes through the whole command line, which takes 20 times as long."""
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

Mutant = Callable[[np.random.Generator], bytes]


# Bytes ------------------------------------------------------------------------------------------

INTERESTING = [0, 1, 0x7F, 0x80, 0xFE, 0xFF]
NUMBERS = [0, 1, 2, -1, -2, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, -(2**31),
           2**40, 2**62, 2**63 - 1, -(2**63)]  # fmt: skip


def damaged(rng: np.random.Generator, content: bytes, tokens: list[bytes]) -> bytes:
    """Flip, overwrite, delete, repeat, swap and insert at a few places."""
    data = bytearray(content)
    for _ in range(int(pick(rng, [1, 1, 1, 2, 3, 4]))):
        i = int(rng.integers(len(data) + 1))
        n = int(min(rng.integers(1, 40), len(data) - i))
        what = rng.integers(-6, 10)
        if what <= 2 and n:
            data[i] ^= 1 << int(rng.integers(8))
        elif what == 3 and n:
            data[i] = int(rng.choice(INTERESTING))
        elif what == 4:
            del data[i : i + n]
        elif what == 5:
            data[i:i] = data[i : i + n] * int(rng.integers(1, 20))
        elif what == 6:
            data[i : i + n] = rng.bytes(n)
        elif what == 7 and n:
            code = str(rng.choice(["<b", "<h", "<i", "<q", ">i"]))
            size = struct.calcsize(code)
            value = int(rng.choice(NUMBERS)) % (1 << 8 * size)
            data[i : i + size] = value.to_bytes(size, "little" if code[0] == "<" else "big")
        elif what == 8:
            del data[i if rng.integers(2) else 0 : i + n if rng.integers(2) else len(data)]
        elif tokens:
            data[i : i + n * int(rng.integers(2))] = tokens[int(rng.integers(len(tokens)))]
    return bytes(data)


def pick(rng: np.random.Generator, options):
    return options[int(rng.integers(len(options)))]


# csv --------------------------------------------------------------------------------------------

CSV_TOKENS = [
    b",", b"\n", b"\r\n", b"\r", b'"', b'""', b"\0", b"\xff", b"\xef\xbb\xbf", b";", b"\t", b" ",
    b"nan", b"inf", b"-inf", b"1e400", b"1e-400", b"9" * 400, b"-", b"0x10", b"1_000", b"NULL",
    b"\xe2\x80\xa8", b"\x1b[31m", b"'", b"\\", b"#", b"true", b"\xed\xa0\x80", b"1e308", b"-0.0",
    b",,,,", b"\n\n\n", b'"\n', "Zürich".encode(), "雪".encode(), b"y", b"x", b"5e-324",
    "٣".encode(), b"1" * 30, b'"a,b"', b"\x1a", b"\xfe\xff", b"2020-01-01", b"12:30:00",
]  # fmt: skip
CSV_BASES = [
    b"x,y\n1,a\n2,b\n3,a\n",
    b"a,b,y\r\n1,2,0\r\n3,4,1\r\n5,6,0\r\n",
    b'"first\nline","y"\n"1","say ""hi"""\n"2","b"\n',
    b"1,2,0\n3,4,1\n5,6,2\n",
    b"\xef\xbb\xbfx,y\n1.5,yes\n-2e10,no\n",
    b"x,y\n" + b"".join(b"%d,%d\n" % (i, i % 3) for i in range(40)),
    b"x,x,y\n1,2,a\n3,4,b\n",
    b"y\na\nb\n",
    b"",
]


def csv_file(rng: np.random.Generator) -> bytes:
    what = rng.integers(12)
    if what == 0:
        return rng.bytes(int(rng.integers(200)))
    if what <= 3:
        few = [pick(rng, CSV_TOKENS) for _ in range(6)] + [b",", b"\n", b"1", b"2"]
        return b"".join(pick(rng, few) for _ in range(int(rng.integers(60))))
    content = pick(rng, CSV_BASES)
    tokens = CSV_TOKENS if rng.integers(3) else [t for t in CSV_TOKENS if max(t) < 128]
    if what == 4:
        text = content.decode("utf-8-sig")
        code = pick(rng, ["utf-16", "utf-16-le", "utf-32", "utf-7", "cp1252", "utf-8-sig", "cp037"])
        content = text.encode(code)
        return content if rng.integers(2) else damaged(rng, content, tokens)
    return damaged(rng, content, tokens)


# npy and npz ------------------------------------------------------------------------------------

DTYPES = [
    "<f8", "<f4", "<f2", ">f8", "<f16", "<c16", "<i8", "<u8", "|b1", "|i1", ">i2", "<U3", "|S5",
    "<M8[s]", "<m8[D]", "|O", "|V4", "<U0", "|S0", "|V0",
]  # fmt: skip
DESCRS = [
    *(repr(dtype) for dtype in DTYPES), "[('a', '<f8'), ('b', '<i4')]", "[('a', '|O')]",
    "('<f8', (2, 3))", "[('a', '<f8', (1000000,))]", "'<f999'", "''", "None", "3", "[]", "'f'",
    "'<U1000000000'", "{'names': ['a'], 'formats': ['<f8'], 'itemsize': 1000000000}",
]  # fmt: skip
SHAPES = [
    "()", "(6,)", "(6, 3)", "(3, 6)", "(0, 3)", "(3, 0)", "(0,)", "(2, 3, 3)", "(6, 1)", "(-1, 3)",
    "(1000000000, 3)", "(9223372036854775807,)", "(4611686018427387904, 4)", "(1.5,)", "3", "'6'",
    "(18446744073709551616,)", "(4294967296, 4294967296)", "(True, 3)", "[6, 3]", "(None,)",
    "(6, 3" + ", 1" * 40 + ")", "(6" + ", 1" * 70 + ")",
]  # fmt: skip
HEADERS = [
    "{'descr': %s, 'fortran_order': %s, 'shape': %s, }",
    "{'descr': %s, 'fortran_order': %s, 'shape': %s}",
    "{'shape': %s, 'fortran_order': %s, 'descr': %s}",
    "%s%s%s", "", "[" * 5000, "(" * 90, "-" * 3000 + "1", "{'descr': __import__('os')}", "{" * 300,
]  # fmt: skip


def an_array(rng: np.random.Generator, as_labels: bool = False) -> np.ndarray:
    dtype = np.dtype(pick(rng, DTYPES if rng.integers(3) else ["<f8", "<f4", "<i8", "<U3"]))
    n = int(pick(rng, [6, 6, 6, 6, 2, 1, 0, 7]))
    shape = pick(rng, [(n,), (n,), (n,), (n, 1), (), (1, n)] if as_labels else
                 [(n, 3), (n, 3), (n, 3), (n, 1), (n,), (), (n, 3, 2), (n, 0)])  # fmt: skip
    if as_labels and not rng.integers(6):
        return np.array(pick(rng, [["\ud800", "a"], ["a\nb", "\x1b[31m"], ["\0", "é"]]) * 3)
    if dtype.hasobject:
        return np.array([{}, "a", 1, None, 2.5, b"x"] * 3, object)[: max(1, n)]
    array = np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), np.uint8)
    if not rng.integers(4) and dtype.itemsize:
        return array.view(dtype).reshape(shape)  # any bits: NaN, no characters, odd booleans
    values = rng.integers(-3, 4, shape) if dtype.kind not in "USV" else rng.integers(2, size=shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(values).astype(dtype)


def npy_bytes(array: np.ndarray, version=None) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(buffer, array, version=version, allow_pickle=True)
    return buffer.getvalue()


def npy_file(rng: np.random.Generator, as_labels: bool = False) -> bytes:
    what = rng.integers(10)
    if what == 0:
        return rng.bytes(int(rng.integers(300)))
    if what <= 3:
        header = pick(rng, HEADERS[:3] if rng.integers(4) else HEADERS)
        if "%s" in header:
            values = (
                pick(rng, DESCRS),
                pick(rng, ["False", "True", "0", "None"]),
                pick(rng, SHAPES),
            )
            header %= values[::-1] if header.startswith("{'shape") else values
        text = header.encode()
        if not rng.integers(4):
            text = damaged(rng, text, [b"'", b"(", b")", b",", b"}", b"\n", b"L", b"\0", b"#"])
        version = pick(rng, [1, 1, 1, 2, 3, 4, 255])
        text = text + b" " * int(rng.integers(64)) + b"\n"
        length = len(text) if rng.integers(8) else int(pick(rng, [0, 1, 65535, len(text) + 5]))
        size = length.to_bytes(2, "little") if version == 1 else length.to_bytes(4, "little")
        return b"\x93NUMPY" + bytes([version, 0]) + size + text + rng.bytes(int(rng.integers(200)))
    content = npy_bytes(an_array(rng, as_labels), pick(rng, [None, (1, 0), (2, 0), (3, 0)]))
    return content if what == 4 else damaged(rng, content, [b"'<f8'", b"(", b"0", b"9", b"True"])


def zipped(rng: np.random.Generator, members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    method = int(pick(rng, [0, 0, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npz_file(rng: np.random.Generator) -> bytes:
    what = rng.integers(20)
    if what == 0:
        return rng.bytes(int(rng.integers(300)))
    y = npy_bytes(an_array(rng, True)) if rng.integers(2) else npy_bytes(np.arange(6) % 2)
    X = npy_bytes(an_array(rng)) if rng.integers(2) else npy_bytes(rng.standard_normal((6, 3)))
    if what <= 6:
        X = npy_file(rng)
    if what in (7, 8, 9):
        y = npy_file(rng, True)
    members = [("X.npy", X), ("y.npy", y)]
    if what == 10:
        names = ["X.npy", "y.npy", "X", "y", "../X.npy", "/X.npy", "x.npy", "X.npy/", "é"]
        members = [(pick(rng, names), pick(rng, [X, y])) for _ in range(int(rng.integers(5)))]
    content = zipped(rng, members)
    return damaged(rng, content, [b"PK\1\2", b"PK\5\6", b"PK\3\4"]) if what >= 15 else content


# parquet ----------------------------------------------------------------------------------------


def columns_of_all_types(rng: np.random.Generator, n: int) -> dict:
    import pyarrow as pa

    ints = [int(i) for i in rng.integers(0, 3, n)]
    text = [f"t{i}" for i in ints]
    return {
        "f8": pa.array(rng.standard_normal(n)),
        "f4": pa.array(rng.standard_normal(n).astype("f4")),
        "f2": pa.array(rng.standard_normal(n).astype("f2")),
        "i8": pa.array(ints),
        "big": pa.array([2**62 + i for i in ints]),
        "u8": pa.array([2**63 + i for i in ints], pa.uint64()),
        "i1": pa.array(ints, pa.int8()),
        "bool": pa.array([i > 1 for i in ints]),
        "text": pa.array(text),
        "large": pa.array(text, pa.large_string()),
        "view": pa.array(text),
        "bytes": pa.array([t.encode() for t in text]),
        "raw": pa.array([t.encode() + b"\xff\0" for t in text], pa.binary()),
        "fixed": pa.array([b"abc"] * n, pa.binary(3)),
        "dict": pa.array(text).dictionary_encode(),
        "idict": pa.array(ints).dictionary_encode(),
        "nulls": pa.array([None if i == 0 else float(i) for i in ints]),
        "null": pa.nulls(n),
        "nullt": pa.array([None if i == 0 else str(i) for i in ints]),
        "nulld": pa.array(
            [None if i == 1 else "t" for i in ints], pa.dictionary(pa.int32(), pa.string())
        ),
        "list": pa.array([[i] * i for i in ints], pa.list_(pa.int64())),
        "three": pa.array([[1.0, 2.0, 3.0]] * n, pa.list_(pa.float64(), 3)),
        "struct": pa.array([{"a": i, "b": "x"} for i in ints]),
        "map": pa.array([[("k", i)] for i in ints], pa.map_(pa.string(), pa.int64())),
        "date": pa.array(ints, pa.date32()),
        "date64": pa.array([86400000 * i for i in ints], pa.date64()),
        "time": pa.array(ints, pa.time64("ns")),
        "stamp": pa.array(ints, pa.timestamp("us", "UTC")),
        "span": pa.array(ints, pa.duration("s")),
        "dec": pa.array([str(i) for i in ints]).cast(pa.decimal128(20, 3)),
        "dec256": pa.array([str(i) for i in ints]).cast(pa.decimal256(50, 3)),
        "nan": pa.array([np.nan if i == 0 else i for i in ints], pa.float64()),
        "chars": pa.array(["\0", "a\nb", "\x1b[31m"] * (n // 3) + ["é"] * (n % 3)),
        "frac": pa.array([0.5 + i for i in ints]),
    }


@cache
def parquet_base(which: int) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(which)
    n = int(pick(rng, [0, 1, 6, 6, 6, 40, 300]))
    known = columns_of_all_types(rng, n)
    plain = ["f8", "f4", "i8", "bool", "text"]
    names = list(rng.choice(list(known) if rng.integers(2) else plain, int(rng.integers(1, 5))))
    arrays = [known[name] for name in names]
    if rng.integers(2):
        names, arrays = [*names, "y"], [*arrays, known[pick(rng, ["text", "i8", "dict", "bool"])]]
    if not rng.integers(8):
        names = [pick(rng, ["a", "y", "", "\0", "a.b", "é\n", "0", "1"]) for _ in names]
    table = pa.table(arrays, names=names)
    if not rng.integers(8):
        index = json.dumps({"index_columns": pick(rng, [names[:1], [3], 5, names])})
        table = table.replace_schema_metadata({"pandas": pick(rng, [index, "{", "[]", "\xff"])})
    buffer = io.BytesIO()
    writing = dict(
        compression=pick(rng, ["none", "snappy", "zstd", "gzip"]),
        row_group_size=int(pick(rng, [2, 7, 1000])),
        use_dictionary=bool(rng.integers(2)),
        data_page_version=pick(rng, ["1.0", "2.0"]),
        store_schema=bool(rng.integers(2)),
    )
    try:
        parquet.write_table(table, buffer, **writing)
    except pa.ArrowNotImplementedError:  # some types together
        return parquet_base(which + 1000)
    return buffer.getvalue()


def parquet_file(rng: np.random.Generator) -> bytes:
    what = rng.integers(12)
    if what == 0:
        return b"PAR1" + rng.bytes(int(rng.integers(300))) + b"PAR1"
    content = parquet_base(int(rng.integers(400)))
    if what == 1:
        return content
    if what <= 6 and len(content) > 12:
        # the footer, from which the reader takes all sizes and places
        size = int.from_bytes(content[-8:-4], "little")
        footer = damaged(rng, content[-8 - size : -8], [b"\0", b"\xff\xff\xff\xff\x0f", b"\x15"])
        length = len(footer) if rng.integers(6) else int(rng.integers(2**31))
        return content[: -8 - size] + footer + length.to_bytes(4, "little") + b"PAR1"
    return damaged(rng, content, [b"PAR1", b"\xff\xff\xff\xff\x0f"])


# other files of tables ---------------------------------------------------------------------------

JSON_BASE = b"".join(b'{"x": %d.5, "y": "%s"}\n' % (i, b"ab"[i % 2 :][:1]) for i in range(9))
JSON_TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b"null", b"NaN", b"1e999", b"9" * 400, b"{}",
    b'{"y":{"y":1}}', b'{"x":[1,2],"y":1}\n', b"\xff", b"\0", b"[" * 3000, b"true", b"\\ud800",
    b'{"x":"2020-01-01"}\n', b'{"x":1,"x":2}\n', b"-0", b"\xef\xbb\xbf", b'{"z":3}\n',
]  # fmt: skip
SHEET = """<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="http://schemas.openxmlformats.org/\
spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>"""
BOOK = {
    "[Content_Types].xml": """<Types xmlns="http://schemas.openxmlformats.org/package/2006/\
content-types"><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/\
workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+\
xml"/></Types>""",
    "_rels/.rels": """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/\
relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/\
relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>""",
    "xl/workbook.xml": """<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/\
main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>\
<sheet name="one" sheetId="1" r:id="rId1"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": """<Relationships xmlns="http://schemas.openxmlformats.org/package\
/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/\
officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>""",
}


def xlsx_bytes(rows: list[list[object]]) -> bytes:
    """A workbook of one sheet with numbers and texts; None is an empty cell."""
    lines = []
    for row in rows:
        cells = [
            "<c/>" if cell is None
            else f'<c t="inlineStr"><is><t>{cell}</t></is></c>' if isinstance(cell, str)
            else f"<c><v>{cell}</v></c>"
            for cell in row
        ]  # fmt: skip
        lines.append(f"<row>{''.join(cells)}</row>")
    return xlsx_of(BOOK | {"xl/worksheets/sheet1.xml": SHEET.format("".join(lines))})


def xlsx_of(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def jsonl_file(rng: np.random.Generator) -> bytes:
    content = JSON_BASE
    for _ in range(int(rng.integers(1, 3))):
        content = damaged(rng, content, JSON_TOKENS)
    return content


@cache
def feather_base(which: int) -> bytes:
    import pyarrow as pa
    from pyarrow import ipc

    rng = np.random.default_rng(which)
    n = int(rng.integers(0, 30))
    columns = {"x": pa.array(rng.normal(size=n)), "text": pa.array([f"t{i}" for i in range(n)]),
               "y": pa.array([i % 3 for i in range(n)])}  # fmt: skip
    if which % 2:
        del columns["text"]
    if which % 3 == 1:
        columns["y"] = columns["y"].cast(pa.string()).dictionary_encode()
    table, buffer = pa.table(columns), io.BytesIO()
    options = ipc.IpcWriteOptions(compression=[None, "lz4", "zstd"][which % 3])
    make = ipc.new_stream if which % 5 == 4 else ipc.new_file
    with make(buffer, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=7)
    return buffer.getvalue()


def feather_file(rng: np.random.Generator) -> bytes:
    content = feather_base(int(rng.integers(200)))
    return damaged(rng, content, [b"ARROW1", b"\xff" * 4, bytes(8)]) if rng.integers(9) else content


def gz_file(rng: np.random.Generator) -> bytes:
    content = gzip.compress(csv_file(rng) if rng.integers(4) else CSV_BASES[5], mtime=0)
    return damaged(rng, content, [b"\x1f\x8b", b"\0"]) if rng.integers(4) else content


def zip_file(rng: np.random.Generator) -> bytes:
    name = str(pick(rng, ["a.csv", "a.tsv", "b/a.jsonl", "a.docx", "../a.csv", "a.feather"]))
    kinds = {".jsonl": jsonl_file, ".feather": feather_file}
    members = {name: kinds.get(Path(name).suffix, csv_file)(rng)}
    if not rng.integers(5):
        members["read.me"] = b"x"
    content = xlsx_of(members)
    return damaged(rng, content, [b"PK\1\2", b"PK\5\6", b"PK\3\4"]) if rng.integers(4) else content


def xlsx_file(rng: np.random.Generator) -> bytes:
    cells = [1, 2.5, "a", "b", None, "NA", 1e300, "1", "<b>", 9007199254740993, "x", "y"]
    rows = [["x", "y"], [1, "a"], [2, "b"], [3, "a"]]
    if rng.integers(2):
        rows += [[pick(rng, cells) for _ in range(int(rng.integers(1, 4)))] for _ in range(3)]
    content = xlsx_bytes(rows)
    if rng.integers(2):
        return damaged(rng, content, [b"PK\1\2", b"PK\5\6", b"PK\3\4"])
    sheet = SHEET.format('<row><c r="A1"><v>1</v></c><c r="B1"><v>2</v></c></row>').encode()
    tokens = [b'r="XFD1048576"', b"<row>", b"</row>", b"<v>", b't="s"', b't="b"', b't="e"', b"&x;"]
    return xlsx_of(BOOK | {"xl/worksheets/sheet1.xml": damaged(rng, sheet, tokens)})


# the model file ---------------------------------------------------------------------------------

SETTINGS = [
    {"projection": "gaussian"}, {"projection": "structured"},
    {"projection": "structured", "compact": True}, {"activation": "relu"},
    {"activation": "relu", "projection": "structured"}, {"compact": True},
    {"memory_limit": "270 MB"}, {"decision": "vote"},
    {"decision": "vote", "projection": "gaussian"},
]  # fmt: skip
CHOSEN = np.where(np.arange(15) % 9 == 6, 0.01, 0.99 / 14)
"""Weights that come from a key take some 150,000 features: a slow file, and so a rare one."""
NPY_START = len(npy_bytes(np.zeros(0)))


@cache
def model_members(which: int) -> list[tuple[str, bytes]]:
    import fastmem

    rng = np.random.default_rng(which)
    settings = SETTINGS[which % len(SETTINGS)]
    # with a limit, weights of more than a quarter of it come from a key
    d = 150_000 if "memory_limit" in settings else int(rng.integers(1, 4))
    X = rng.standard_normal((20, d)).astype(np.float32)
    y = rng.integers(0, 3, 20)
    labels = pick(rng, [y, np.array(["a", "é", "雪"])[y], y == 0, y.astype(float)])
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        fastmem.interpolate(X, labels, seed=which, width=130, **settings).save(f"{folder}/net")
        with zipfile.ZipFile(f"{folder}/net") as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist()]


def sealed(content: bytes) -> bytes:
    """Forge the digest, as whoever writes a hostile file on purpose would."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def an_archive(members: list[tuple[str, bytes]], method: int) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)
        archive.comment = SEAL + b"0" * 64
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


@cache
def decision_list(which: int) -> tuple[Any, bytes, bytes]:
    """What a file holds of a list; its stored rows; and its description."""
    from decision_lists import make_list

    from fastmem.hyperplanes.keyed import as_keyed
    from fastmem.network import list_file

    rng = np.random.default_rng(which)
    X, y = rng.standard_normal((40, 3)), rng.integers(0, 3, 40)
    labels = [y, np.array(["a", "é", "雪"])[y], y == 0, y.astype(float)][which % 4]
    described = (
        {"feature_names": ["a", "b", "c"], "summary": {"n_samples": 40}} if which % 2 else {}
    )
    network = make_list(X, labels, n=64, n_extra=40 * (which > 1), key=which, **described)
    parts, first = network._parts(), as_keyed(network.first)
    content, used = list_file._content(parts, first)
    description = list_file._description(parts)
    content.n_described = len(description)
    return content, first.extra[used].tobytes() + first.extra_biases[used].tobytes(), description


def list_file(rng: np.random.Generator) -> bytes:
    """A file of a decision list, damaged as bytes, in its numbers or in its description."""
    from fastmem.network.file_versions import LIST_MAGIC
    from fastmem.network.list_code import Run, encoded

    content, stored, description = decision_list(int(rng.integers(4)))
    content = replace(content, runs=list(content.runs))
    if not rng.integers(3):
        name = pick(rng, ["key", "n_entries", "n_keyed", "n_extra", "n_classes", "n_samples"])
        some = [0, 1, 2, 3, 64, 255, 2**16, 2**21, 2**31, 2**40, (getattr(content, name) or 0) + 1]
        setattr(content, name, int(pick(rng, some)))
    if not rng.integers(3):
        i = int(rng.integers(len(content.runs)))
        owner, masks = content.runs[i]
        content.runs[i] = Run(owner, pick(rng, [masks * 2, masks[:-1] or masks, [()], masks]))
    if not rng.integers(3):
        description = pick(rng, [damaged(rng, description, []), b"", stored, description * 2])
        content.n_described = pick(rng, [len(description), content.n_described])
    try:
        stream, masks = encoded(content)
    except (ValueError, OverflowError):  # no such thing can be written
        stream, masks = encoded(decision_list(0)[0])
    body = LIST_MAGIC + b"\1" + stream + masks + stored + description
    if not rng.integers(2):
        body = damaged(rng, body, [LIST_MAGIC, bytes(8), b"\xff" * 8])
    checksum = zlib.crc32(body).to_bytes(4, "little")
    return body + (checksum if rng.integers(20) else bytes(4))


def model_file(rng: np.random.Generator) -> bytes:
    if not rng.integers(4):
        return list_file(rng)
    members = list(model_members(int(rng.choice(15, p=CHOSEN))))
    method = int(pick(rng, [0, 8]))
    what = rng.integers(20)
    if what <= 3:  # the archive, with a digest that is right or not
        content = damaged(rng, an_archive(members, method), [b"PK\1\2", b"PK\5\6", b"PK\3\4", SEAL])
        return sealed(content) if len(content) > 64 and rng.integers(6) else content
    for _ in range(int(rng.integers(1, 4))):
        i = int(rng.integers(len(members)))
        name, content = members[i]
        how = rng.integers(8)
        if how == 0:
            other = npy_file(rng)
        elif how == 1:
            other = damaged(rng, content, [b"'<f8'", b"(", b"0", b"9", b"True"])
        elif how <= 3:
            other = content[:NPY_START] + damaged(rng, content[NPY_START:], [bytes(8), b"\xff" * 8])
        elif how == 4 and what < 8:
            del members[i]
            continue
        elif how == 5 and what < 8:
            members.insert(int(rng.integers(len(members))), members[i])
            continue
        else:  # right but for some values
            try:
                array = np.load(io.BytesIO(content)).copy()
            except Exception:  # was damaged before
                continue
            flat = array.reshape(-1)
            if array.dtype.kind in "iuf" and flat.size:
                info = np.finfo(array.dtype) if array.dtype.kind == "f" else np.iinfo(array.dtype)
                extreme = [0, 1, info.min, info.max, info.max // 2, flat[0], 63, 64, 127]
                if array.dtype.kind == "f":
                    extreme += [np.nan, np.inf, -0.0, info.tiny, info.smallest_subnormal]
                for _ in range(int(rng.integers(1, 4))):
                    flat[int(rng.integers(flat.size))] = pick(rng, extreme)
            if not rng.integers(6) and array.ndim:
                array = pick(rng, [array[:-1], array[::-1], np.concatenate([array, array]),
                                   array[..., None], array[:0], array.reshape(-1)])  # fmt: skip
            other = npy_bytes(np.ascontiguousarray(array) if array.ndim else array, (1, 0))
        members[i] = (name, other)
        if not members:
            break
    return sealed(an_archive(members, method))


# trials -----------------------------------------------------------------------------------------

FILES: dict[str, Mutant] = {
    "csv": csv_file, "npy": npy_file, "npz": npz_file, "parquet": parquet_file, "model": model_file,
    "jsonl": jsonl_file, "feather": feather_file, "gz": gz_file, "zip": zip_file, "xlsx": xlsx_file,
}  # fmt: skip
LABELS = ["y", None, "0", "1", "-1", "2", "x", "text", "", "X", "99", "-", "\0"]


def the_input(kind: str, number: int) -> tuple[bytes, str | None, np.random.Generator]:
    rng = np.random.default_rng([sorted(FILES).index(kind), number])
    content = FILES[kind](rng)
    return (
        content,
        pick(rng, LABELS[: 1 + 4 * int(rng.integers(2))] if rng.integers(4) else LABELS),
        rng,
    )


def check_sentence(sentence: str) -> None:
    assert PRINTABLE.fullmatch(sentence), f"not one printable line: {sentence!r}"
    assert len(sentence) < 1500, f"{len(sentence)} characters: {sentence[:200]!r}..."


def try_reader(path: Path, label: str | None) -> str:
    from fastmem.inputs import InvalidInputError, check_labels, check_points
    from fastmem.tables import read_table

    try:
        X, y = read_table(path, label, labels_required=False)
        points = check_points(X)
        if y is not None:
            check_labels(y, points.n_samples)
    except InvalidInputError as error:
        check_sentence(str(error))
        return "refused"
    return "read"


def try_model(path: Path) -> str:
    import fastmem

    try:
        network = fastmem.load(path)
    except fastmem.ModelFileError as error:
        check_sentence(str(error))
        return "refused"
    X = np.random.default_rng(0).standard_normal((5, network.n_features_in_))
    X[1] *= 1e30
    if network.n_features_in_ < 1000:
        assert np.isin(network.predict(X), network.classes_).all()
    network.decision_function(X[:2])
    kept = path.with_name("kept.npz")
    network.save(kept)
    same = fastmem.load(kept)
    assert same.widths == network.widths
    np.testing.assert_array_equal(same.predict(X), network.predict(X))
    return "read"


def try_command(kind: str, path: Path, label: str | None, number: int) -> str:
    from typer.testing import CliRunner

    from fastmem.commands import app

    out = path.with_name("out.npz")
    if kind == "model":
        arguments = ["info", str(path)]
    else:
        arguments = ["fit", str(path), "--width", "8", "--threads", "1", "--out", str(out)]
        arguments += [] if label is None else [f"--label={label}"]
    result = CliRunner().invoke(app, arguments)
    if result.exit_code == 0:
        if kind != "model":
            labels = path.with_name(pick(np.random.default_rng(number), ["l.csv", "l.npy"]))
            arguments = ["predict", str(out), str(path), "--out", str(labels)]
            arguments += [] if label is None else [f"--label={label}"]
            again = CliRunner().invoke(app, arguments)
            # an npz file whose y is predicted needs no label
            written = again.exit_code == 0 or "cannot be written in utf-8" in again.stderr
            assert written, (again.exit_code, again.stderr, again.exception)
            out.unlink()
            labels.unlink(missing_ok=True)
        return "read"
    if result.exit_code != 2 and result.exception is not None:
        raise result.exception
    assert result.exit_code == 2, result.exit_code
    assert result.stdout == "", result.stdout
    assert result.stderr.endswith(".\n"), result.stderr
    check_sentence(result.stderr[:-1])
    assert not out.exists()
    return "refused"


def one(kind: str, number: int, folder: Path) -> str:
    """Try one input; returns "read" or "refused", and raises what is a fault."""
    content, label, _ = the_input(kind, number)
    for left in folder.iterdir():
        left.unlink()
    path = folder / f"input.{'npz' if kind == 'model' else kind}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if number % EVERY_COMMAND == 3:
            return try_command(kind, path, label, number)
        return try_model(path) if kind == "model" else try_reader(path, label)


# processes --------------------------------------------------------------------------------------


def child(kind: str, start: int, stop: int) -> None:
    import faulthandler
    import resource

    from fastmem.machine.clock import peak_bytes

    def peak_since() -> int:
        """Forget the peak so far; returns what is resident now."""
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return peak_bytes()

    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    counts = {"read": 0, "refused": 0}
    with tempfile.TemporaryDirectory(dir=place, prefix="fuzz-") as folder:
        for number in [3, *range(5)]:  # what is loaded once takes memory
            with contextlib.suppress(Exception):
                one(kind, number, Path(folder))
        for number in range(start, stop):
            print(f"at {number}", flush=True)
            before = peak_since()
            try:
                counts[one(kind, number, Path(folder))] += 1
            except BaseException as error:
                text = "".join(traceback.format_exception(error)[-3:])[-1500:]
                print(
                    "fault",
                    json.dumps([number, f"{type(error).__name__}: {error}", text]),
                    flush=True,
                )
            grown = peak_bytes() - before
            if grown > MOST_MEMORY:
                print("fault", json.dumps([number, f"took {grown >> 20} MB", ""]), flush=True)
    print("done", json.dumps(counts), flush=True)


def run(
    kind: str, start: int, stop: int, n_most: int = 20, script: Path = Path(__file__)
) -> tuple[dict[str, int], list]:
    """Try the numbers start..stop-1; returns counts, and (number, what, trace) of each fault."""
    counts = {"read": 0, "refused": 0}
    faults: list = []
    while start < stop and len(faults) < n_most:
        process = subprocess.Popen(
            [sys.executable, str(script), "--child", kind, str(start), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))},
        )
        at, ended, buffer, seen, spent = start, False, b"", time.monotonic(), math.inf
        reason = ""
        while not ended:
            ready, _, _ = select.select([process.stdout], [], [], 1.0)
            part = os.read(process.stdout.fileno(), 1 << 16) if ready else None
            if part:
                seen, spent = time.monotonic(), math.inf
                *lines, buffer = (buffer + part).split(b"\n")
                for line in lines:
                    what, _, rest = line.decode(errors="replace").partition(" ")
                    if what == "at":
                        at = int(rest)
                        start = at + 1
                    elif what == "fault":
                        faults.append(json.loads(rest))
                    elif what == "done":
                        for key, value in json.loads(rest).items():
                            counts[key] += value
                        start = stop
            elif part == b"":
                ended = True
            else:
                now, silent = used(process), time.monotonic() - seen
                spent = min(spent, now)
                if now - spent > SECONDS or silent > 10 * SECONDS:
                    reason = f"still at it after {silent:.0f} s"
                    process.kill()
                    ended = True
        stderr = process.stderr.read().decode(errors="replace")
        code = process.wait()
        process.stdout.close()
        process.stderr.close()
        if start < stop or reason or code:
            faults.append([at, reason or f"the process ended with {code}", stderr[-1500:]])
            start = at + 1
    return counts, faults


def main() -> None:
    sys.path.append(str(Path(__file__).parents[1]))
    if sys.argv[1] == "--child":
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) == 3:
        with tempfile.TemporaryDirectory() as folder:
            print(the_input(sys.argv[1], int(sys.argv[2]))[:2])
            print(one(sys.argv[1], int(sys.argv[2]), Path(folder)))
    else:
        begun = time.monotonic()
        counts, faults = run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 10_000)
        for number, what, text in faults:
            print(f"--- {sys.argv[1]} {number}: {what[:300]}\n{text}")
        print(counts, len(faults), "faults", f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
