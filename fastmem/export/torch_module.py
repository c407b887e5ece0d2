"""Networks as PyTorch modules with the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.export.checking import best_arithmetic, reference
from fastmem.export.layers import (
    Arithmetic,
    SecondLayer,
    check_choice,
    check_network,
    check_size,
    second_layer,
    without_unused,
)
from fastmem.export.torch_votes import vote_module
from fastmem.machine.extras import needs

if TYPE_CHECKING:
    from fastmem.network.network import Network


def to_torch(
    network: Network, X: Any = None, y: Any = None, *, dtype: str = "auto", adjust: bool = True
) -> Any:
    """Make a ``torch.nn.Module`` with the network's weights, and check it on points.

    ``module(x)``, x of shape (N, d), gives the scores of ``decision_function``, (N, K) float32;
    ``module.codes(x)`` the numbers of the classes, (N,) int64, and ``module.predict(x)`` their
    labels, an ndarray. ``module.feature_names`` are those of the network, or None. All is held in
    buffers; a threshold has no gradient.

    With ``decision="vote"`` scores are votes, whole numbers in int64, and
    ``module.predict_proba(x)`` gives probabilities, (N, K) float64. The read-out is computed in
    integers: its votes are those of fastmem on every machine.

    Parameters
    ----------
    network : Network
    X : array-like or CSR matrix of shape (n_samples, n_features_in_), optional
        Points on which the module must agree with the network.
    y : array-like of shape (n_samples,), optional
        Their labels, to be told which rows are wrong.
    dtype : {"auto", "float32", "float64"}
        Of the first layer's products. "auto" is float32 where that labels every point right, else
        float64; float64 without X.
    adjust : bool
        Whether biases may be moved, inside the gap between the points, where floats round a bit.

    Returns
    -------
    torch.nn.Module
        Its ``report`` is an ExportReport; rows with another label give an ExportWarning too.

    Raises
    ------
    InvalidInputError
        If an argument is no such thing.
    ModuleNotFoundError
        If PyTorch is not installed.
    """
    check_network(network)
    check_choice("dtype", dtype, ("auto", "float32", "float64"))
    network = without_unused(network)
    check_size(network)
    with needs("torch"):
        import torch  # noqa: F401
    ref = reference(network, X, y, None)
    order = np.arange(len(network.first))
    layer = second_layer(network, order)

    def build(way: Arithmetic | None) -> _Engine:
        patterns = None if way is None else _module(network, way, layer)
        votes = network.readout is not None
        return _Engine(vote_module(network, patterns, layer) if votes else patterns)

    engine, way, report = best_arithmetic(network, order, build, ref, dtype, adjust)
    assert isinstance(engine, _Engine)
    module = engine.module
    n_bytes = sum(buffer.numel() * buffer.element_size() for buffer in module.buffers())
    settings = {} if network.readout is None else {"cosines": f"{len(network.readout):,}"}
    if way is not None:
        settings |= {"first layer": "explicit", "arithmetic": str(way), "masks": "float32"}
    module.report = replace(report, format="torch", settings=settings, n_bytes=n_bytes)
    module.report.warn()
    return module


def _module(network: Network, way: Arithmetic, layer: SecondLayer) -> Any:
    import torch

    def tensor(values: np.ndarray) -> Any:
        return torch.from_numpy(np.array(values))

    class ThresholdNetwork(torch.nn.Module):
        """Three layers of thresholds; see ``fastmem.export.to_torch``."""

        def __init__(self) -> None:
            super().__init__()
            # only views of numbers are kept beside the buffers, so that a module can be moved
            self.labels = network.classes_
            self.feature_names = network.feature_names
            self.widths = layer.widths
            self.wide = tensor(np.zeros(0, way.wide)).dtype
            self.register_buffer("weights", tensor(network.first.weights.T.astype(way.dtype)))
            self.register_buffer("levels", tensor(way.levels))
            self.is_scaled = way.scale is not None
            if way.scale is not None:
                self.register_buffer("scale", tensor(way.scale.astype(way.wide)))
            shift = np.zeros(network.n_features_in_) if way.shift is None else way.shift
            self.register_buffer("shift", tensor(shift.astype(way.wide)))
            self.register_buffer("masks", tensor(layer.masks.T.astype(np.float32)))
            self.register_buffer("thresholds", tensor(layer.levels))
            self.is_list = layer.values is not None
            if layer.values is not None:
                self.register_buffer("values", tensor(layer.values))

        def products(self, x: Any) -> Any:
            """What the first layer compares with its levels, (N, n)."""
            x = x.to(self.wide)
            if self.is_scaled:
                x = x * self.scale
            # a difference with zeros rounds nothing
            return (x - self.shift).to(self.weights.dtype) @ self.weights

        def margins(self, x: Any) -> Any:
            """m - <u, bits> of all neurons, (N, m)."""
            bits = (self.products(x) > self.levels).to(self.masks.dtype)
            return self.thresholds - bits @ self.masks

        def forward(self, x: Any) -> Any:
            """Scores of all classes, (N, K)."""
            margins = self.margins(x)
            if self.is_list:  # of neurons that are on, the earlier the larger
                margins = (margins > 0).to(self.values.dtype) * self.values
            blocks = margins.split(self.widths, dim=1)
            return torch.cat([block.amax(dim=1, keepdim=True) for block in blocks], dim=1)

        def codes(self, x: Any) -> Any:
            """Numbers of the classes, (N,) int64; of equal scores the first."""
            return torch.from_numpy(self.forward(x).detach().cpu().numpy().argmax(axis=1))

        def predict(self, x: Any) -> np.ndarray:
            """Labels, (N,)."""
            return self.labels[self.codes(x).numpy()]

    return ThresholdNetwork()


class _Engine:
    """A module in PyTorch."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def labels(self, block: np.ndarray) -> np.ndarray:
        """Labels of points."""
        import torch

        found: np.ndarray = self.module.predict(torch.from_numpy(block))
        return found

    def products(self, block: np.ndarray) -> np.ndarray:
        """What the first layer compares."""
        import torch

        products: np.ndarray = self.module.products(torch.from_numpy(block)).numpy()
        return products
