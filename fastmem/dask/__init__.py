"""Fits and predictions on a Dask cluster: the network of a single machine, byte for byte."""

from fastmem.machine.extras import needs

with needs("dask"):
    from fastmem.dask.classifier import DaskInterpolatingClassifier
    from fastmem.dask.fitting import interpolate
    from fastmem.dask.predicting import decision_function, predict, predict_proba, sign_patterns

__all__ = [
    "DaskInterpolatingClassifier",
    "decision_function",
    "interpolate",
    "predict",
    "predict_proba",
    "sign_patterns",
]

DaskInterpolatingClassifier.__module__ = __name__  # where it is documented, and pickles look for it
