"""What estimators are given, by scikit-learn's rules."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from fastmem.inputs import InvalidInputError


def threads_of(n_jobs: Any) -> int:
    """Threads for ``n_jobs``, by joblib's rules: None is 1 unless a joblib context says more."""
    is_number = isinstance(n_jobs, numbers.Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and (not is_number or n_jobs == 0):
        raise InvalidInputError(
            f"n_jobs is {n_jobs!r}; pass None, a number of threads, or -1 for all cores"
        )
    return max(1, int(effective_n_jobs(n_jobs)))


def seed_of(random_state: Any) -> Any:
    """What fastmem takes as seed: an int as it is, else drawn from the generator."""
    if isinstance(random_state, numbers.Integral | np.random.Generator):
        return random_state
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def checked(estimator: Any, X: Any, **extra: Any) -> Any:
    """X, and y if it is given, by scikit-learn's rules and messages.

    Arrays keep their dtype; columns of frames get one that is common to them, mostly float64.
    """
    return validate_data(estimator, X, accept_sparse="csr", dtype="numeric", **extra)
