"""Fits and predictions on a Ray cluster: the networks of one machine, byte for byte."""

from fastmem.machine.extras import needs

with needs("ray"):
    import ray.data  # noqa: F401

from fastmem.ray.fitting import interpolate
from fastmem.ray.predicting import predict, sign_patterns

__all__ = ["interpolate", "predict", "sign_patterns"]
