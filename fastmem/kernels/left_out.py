"""Errors of a ridge regression for points that are left out, by widths."""

from __future__ import annotations

import numpy as np

from fastmem.kernels.compiling import njit
from fastmem.kernels.panel_products import PANEL
from fastmem.kernels.queue import take

TASK_POINTS = 16


@njit(nogil=True, cache=True)
def left_out_errors(queue, stop, rows, answers, targets, share, predicted, leverages, errors):
    """Squared errors of points, each left out, on the first PANEL, 2 PANEL, ... features: a worker.

    See ``kernels.queue`` and `vote.factor.left_out`. rows (S, n) float64: L^-1 f of each point;
    answers (T, n) float64: L^-1 F^T Y; targets (S, T) float64; share: what the intercept adds to
    each leverage; predicted (S, T) float64, zeros at first, takes what all features say of each
    point that is left out, and leverages (S,) float64 its leverage; errors (n / PANEL, S) float64.
    Task t takes TASK_POINTS points.
    """
    n_points, n = rows.shape
    n_columns = answers.shape[0]
    panel = np.empty((PANEL, n_columns), np.float64)
    while True:
        task = take(queue)
        if task >= stop:
            return
        start = task * TASK_POINTS
        end = min(start + TASK_POINTS, n_points)
        leverages[start:end] = share
        for first in range(0, n, PANEL):
            for c in range(n_columns):
                for j in range(PANEL):
                    panel[j, c] = answers[c, first + j]
            for i in range(start, end):
                leverage = leverages[i]
                said = predicted[i]
                for j in range(PANEL):
                    value = rows[i, first + j]
                    leverage += value * value
                    for c in range(n_columns):
                        said[c] += value * panel[j, c]
                leverages[i] = leverage
                rest = max(1.0 - leverage, 1e-9)
                total = 0.0
                for c in range(n_columns):
                    wrong = (targets[i, c] - said[c]) / rest
                    total += wrong * wrong
                errors[first // PANEL, i] = total
        for i in range(start, end):
            rest = max(1.0 - leverages[i], 1e-9)
            for c in range(n_columns):
                predicted[i, c] = targets[i, c] - (targets[i, c] - predicted[i, c]) / rest
