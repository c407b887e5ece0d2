"""scikit-learn estimators: a classifier that memorises, and sign patterns as features."""

try:
    import joblib  # noqa: F401
    import sklearn.utils.validation
except ImportError as missing:
    raise ModuleNotFoundError(
        f"fastmem.sklearn needs scikit-learn 1.6 or newer ({missing}): "
        'pip install "fastmem-nets[sklearn]"',
        name="sklearn",
    ) from missing
if not hasattr(sklearn.utils.validation, "validate_data"):
    raise ModuleNotFoundError(
        "fastmem.sklearn needs scikit-learn 1.6 or newer: pip install -U scikit-learn",
        name="sklearn",
    )

from fastmem.sklearn.classifier import ContradictionWarning, InterpolatingClassifier
from fastmem.sklearn.patterns import HyperplanePatterns

__all__ = ["ContradictionWarning", "HyperplanePatterns", "InterpolatingClassifier"]

for _public in (ContradictionWarning, HyperplanePatterns, InterpolatingClassifier):
    _public.__module__ = __name__  # where it is documented, and where pickles look for it
