"""Smallest counts of masks over whole rows: fastmem's kernel against FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.parts import Counts, all_threads
from bench.workloads import Sizes

WORDS = [4, 32, 160]


@pytest.mark.parametrize("n_words", WORDS)
def test_minima(benchmark: Any, sizes: Sizes, n_words: int) -> None:
    counts = Counts(sizes.count_rows, n_words, sizes.count_masks, all_threads())
    benchmark.group = f"counts, {n_words} words"
    benchmark.extra_info["words"] = sizes.count_rows * n_words * sizes.count_masks
    least = benchmark.pedantic(counts.minima, rounds=5, warmup_rounds=1)
    for mask, minimum in zip(counts.masks[:2], least[:2], strict=True):
        assert minimum == np.bitwise_count(counts.rows & mask).sum(axis=1, dtype=np.int64).min()


@pytest.mark.parametrize("n_words", WORDS)
def test_peer_faiss(benchmark: Any, sizes: Sizes, n_words: int) -> None:
    pytest.importorskip("faiss")
    from bench.peers import FaissCounts

    counts = Counts(sizes.count_rows, n_words, sizes.count_masks, all_threads())
    peer = FaissCounts(counts.rows, all_threads())
    benchmark.group = f"counts, {n_words} words"
    least = benchmark.pedantic(peer.minima, (counts.masks,), rounds=5, warmup_rounds=1)
    for mask, minimum in zip(counts.masks[:2], least[:2], strict=True):
        assert minimum == np.bitwise_count(counts.rows ^ mask).sum(axis=1, dtype=np.int64).min()
