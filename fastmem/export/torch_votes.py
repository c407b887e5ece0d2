"""Networks that vote as PyTorch modules, in integers of 64 bits after the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastmem.export.layers import SecondLayer, cosine_table, wave_signs
from fastmem.kernels.cosines import GRID_LIMIT, PHASE_STEP

if TYPE_CHECKING:
    from fastmem.network.network import Network

_MODULO = (1 << 32) - 1


def vote_module(network: Network, patterns: Any, layer: SecondLayer) -> Any:
    """A module of a network with a read-out.

    ``patterns`` is the module whose ``margins`` say which neurons are on; None without neurons.
    """
    import torch

    readout = network.readout
    assert readout is not None and layer.gains is not None
    signs = wave_signs(readout)
    n = len(readout)
    step, temperature = float(np.ldexp(1.0, readout.exponent)), readout.temperature
    multiplier = readout.multiplier
    held = {
        "offsets": readout.offsets,
        "signs": 1 - 2 * signs.astype(np.int8),
        "phases": np.arange(1, n + 1) * PHASE_STEP & _MODULO,
        "cosines": cosine_table(),
        "vote_weights": readout.weights,
        "intercepts": readout.intercepts,
    }
    if network.scale is not None:
        held["scale"] = network.scale
    if patterns is not None:
        held["gains"] = layer.gains

    class VoteNetwork(torch.nn.Module):
        """A vote of cosine features, and of exceptions; see ``fastmem.export.to_torch``."""

        signs: Any  # buffers, which torch types as tensors or modules
        phases: Any
        cosines: Any

        def __init__(self) -> None:
            super().__init__()
            self.labels = network.classes_
            self.feature_names = network.feature_names
            self.widths = layer.widths
            self.step, self.temperature = step, temperature
            self.multiplier = multiplier
            self.is_scaled = network.scale is not None
            for name, values in held.items():
                self.register_buffer(name, torch.from_numpy(np.array(values)))
            self.exceptions = patterns

        def features(self, x: Any) -> Any:
            """Cosine features, (N, n) float64: whole numbers."""
            x = x.to(torch.float64)
            if self.is_scaled:
                x = x * self.scale
            grid = (x * self.step - self.offsets).clamp(-GRID_LIMIT, GRID_LIMIT).round()
            n_blocks, rounds, size = self.signs.shape
            whole = grid.to(torch.int64) * self.multiplier
            padded = torch.nn.functional.pad(whole, (0, size - whole.shape[1]))
            state = padded[:, None].expand(-1, n_blocks, -1)
            for t in range(rounds):
                # below 2^49 in size: nothing overflows, and & takes the rest modulo 2^32
                state = _transformed(state * self.signs[:, t]) & _MODULO
            sums = state.reshape(len(x), -1)[:, : len(self.phases)]
            return self.cosines[((sums + self.phases) & _MODULO) >> 24]

        def forward(self, x: Any) -> Any:
            """Votes of all classes, (N, K) int64."""
            sums = self.features(x) @ self.vote_weights.to(torch.float64)  # below 2^31: exact
            votes = sums.to(torch.int64) + self.intercepts
            if votes.shape[1] == 1:
                votes = torch.nn.functional.pad(votes, (1, 0))
            if self.exceptions is None:
                return votes
            gained = (self.exceptions.margins(x) > 0) * self.gains
            blocks = gained.split(self.widths, dim=1)
            return votes + torch.cat([block.sum(dim=1, keepdim=True) for block in blocks], dim=1)

        def products(self, x: Any) -> Any:
            """What the first layer of the exceptions compares with its levels, (N, n)."""
            return self.exceptions.products(x)

        def predict_proba(self, x: Any) -> Any:
            """Probabilities of all classes, (N, K) float64: softmax of votes at a temperature."""
            votes = self.forward(x)
            less = votes - votes.amax(dim=1, keepdim=True)
            return (less.to(torch.float64) / self.temperature).softmax(dim=1)

        def codes(self, x: Any) -> Any:
            """Numbers of the classes, (N,) int64; of equal votes the first."""
            return torch.from_numpy(self.forward(x).detach().cpu().numpy().argmax(axis=1))

        def predict(self, x: Any) -> np.ndarray:
            """Labels, (N,)."""
            return self.labels[self.codes(x).numpy()]

    return VoteNetwork()


def _transformed(state: Any) -> Any:
    """The Walsh-Hadamard transform of the last axis."""
    import torch

    shape = state.shape
    step = 1
    while step < shape[-1]:
        pairs = state.reshape(-1, 2, step)
        a, b = pairs[:, 0], pairs[:, 1]
        state = torch.stack([a + b, a - b], dim=1)
        step *= 2
    return state.reshape(shape)
