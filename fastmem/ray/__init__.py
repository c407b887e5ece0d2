"""Fits and predictions on a Ray cluster: the networks of one machine, byte for byte."""

from fastmem.machine.extras import needs

with needs("ray"):
    import ray.data  # noqa: F401

from fastmem.ray.fitting import interpolate
from fastmem.ray.predicting import decision_function, predict, predict_proba, sign_patterns

__all__ = ["decision_function", "interpolate", "predict", "predict_proba", "sign_patterns"]
