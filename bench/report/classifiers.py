"""What one would take to memorise a labelled set exactly: fastmem, and its peers.

All have one shape: make, `fit`, `predict`, `model`, and stop by themselves where their training is
a loop. `roster` names them all; a configuration of fastmem is one line of CONFIGURATIONS.
"""

from __future__ import annotations

import inspect
import pickle
import time
import warnings
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import fastmem
from bench.measuring import all_threads
from bench.peers import DenseNetwork, fit_as_published

Points = NDArray[np.float32]
Labels = NDArray[Any]

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "the paper's: random, Gaussian": {"selection": "random", "projection": "gaussian"},
    "the same, all classes": {"selection": "random", "projection": "gaussian", "covered": "all"},
    "default": {},
    "default, Gaussian": {"projection": "gaussian"},
    "default, all classes": {"covered": "all"},
    "width auto": {"width": "auto"},
    "compact": {"compact": True},
    "margin 0.2": {"margin": 0.2},
    "margin 0.5": {"margin": 0.5},
}
"""Name of a row to arguments of `fastmem.interpolate`, beside ``width`` of the data set and
``seed``. A row whose arguments this version does not have yet is left out."""


DENSE = "dense NumPy, authors' steps"


class Classifier(Protocol):
    """What a comparison needs of anything that memorises.

    Attributes
    ----------
    note : str
        What the table should say of the last fit.
    """

    note: str

    def fit(self, X: Points, y: Labels) -> None:
        """Memorise points."""

    def predict(self, X: Points) -> Labels:
        """Predict labels."""

    def model(self) -> tuple[int, dict[str, int]]:
        """Give the model's size in bytes and other sizes that a table may show."""


def packed_size(state: Any) -> int:
    """Count the bytes of a model as a file would hold it: its pickle, compressed by zlib.

    fastmem's own file, whose size is ``net.nbytes``, is compressed the same way.
    """
    octets = state if isinstance(state, bytes) else pickle.dumps(state, protocol=5)
    return len(zlib.compress(octets, 6))


class Fastmem:
    """`fastmem.interpolate` with a configuration."""

    def __init__(self, width: int, arguments: dict[str, Any]) -> None:
        self.arguments = {"width": width, "seed": 0} | arguments
        self.note = ""

    def fit(self, X: Points, y: Labels) -> None:
        """Memorise."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fastmem.UnseparatedWarning)
            self.network = fastmem.interpolate(X, y, **self.arguments)

    def predict(self, X: Points) -> Labels:
        """Predict."""
        return self.network.predict(X)

    def model(self) -> tuple[int, dict[str, int]]:
        """Give ``net.nbytes``, widths and weights."""
        first, second = self.network.widths
        sizes = {
            "first_width": first,
            "second_width": second,
            "n_parameters": self.network.n_parameters,
            "n_nonzero": self.network.n_nonzero,
        }
        return self.network.nbytes, sizes


class Dense:
    """The paper's Algorithm 2 in dense NumPy by the authors' steps, one versus rest if K > 2."""

    note = ""

    def __init__(self, width: int) -> None:
        self.width = width

    def fit(self, X: Points, y: Labels) -> None:
        """Draw hyperplanes as `interpolate` does and select neurons one by one."""
        generator = np.random.default_rng(0)
        weights = generator.standard_normal((self.width, X.shape[1]), dtype=np.float32)
        centre = X.mean(axis=0, dtype=np.float64)
        radius = np.sqrt((np.square(X - centre.astype(np.float32)).sum(axis=1)).max())
        biases = generator.uniform(-radius, radius, self.width) - weights @ centre
        self.classes, codes = np.unique(y, return_inverse=True)
        covered = [1] if len(self.classes) == 2 else range(len(self.classes))
        self.network: DenseNetwork = fit_as_published(X, codes, weights, biases, covered)

    def predict(self, X: Points) -> Labels:
        """Predict by a dense forward pass."""
        return self.classes[self.network.predict(X)]

    def model(self) -> tuple[int, dict[str, int]]:
        """Give the size of its float32 matrices and its widths."""
        net = self.network
        state = (net.weights, net.biases, net.masks, net.thresholds)
        return packed_size(state), {"first_width": self.width, "second_width": len(net.masks)}


class Sklearn:
    """An estimator of scikit-learn whose training has no loop that could be stopped."""

    note = ""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def fit(self, X: Points, y: Labels) -> None:
        """Fit a new estimator."""
        self.estimator = self.make().fit(X, y)

    def predict(self, X: Points) -> Labels:
        """Predict."""
        predicted: Labels = self.estimator.predict(X)
        return predicted

    def model(self) -> tuple[int, dict[str, int]]:
        """Give the size of the estimator's pickle."""
        return packed_size(self.estimator), {}


class Perceptron(Sklearn):
    """A perceptron with one hidden layer, trained by Adam until accuracy 1 or out of time."""

    def __init__(self, hidden: int, seconds: float) -> None:
        self.hidden = hidden
        self.time_limit = seconds

    def fit(self, X: Points, y: Labels) -> None:
        """Train epoch by epoch."""
        from sklearn.neural_network import MLPClassifier

        self.estimator = MLPClassifier((self.hidden,), random_state=0)
        deadline = time.monotonic() + self.time_limit
        epochs, accuracy = 0, 0.0
        while accuracy < 1 and time.monotonic() < deadline:
            self.estimator.partial_fit(X, y, classes=np.unique(y))
            epochs += 1
            accuracy = float(np.mean(self.estimator.predict(X) == y))
        reached = "accuracy 1" if accuracy == 1 else f"stopped at {self.time_limit:g} s,"
        self.note = f"{reached} after {epochs} epochs"


class LightGbm:
    """LightGBM's boosted trees with many leaves, until accuracy 1 or out of time."""

    def __init__(self, seconds: float) -> None:
        self.time_limit = seconds

    def fit(self, X: Points, y: Labels) -> None:
        """Boost round by round."""
        import lightgbm

        self.classes, codes = np.unique(y, return_inverse=True)
        n_classes = len(self.classes)
        kind = "binary" if n_classes == 2 else "multi"
        parameters = {
            "objective": "binary" if n_classes == 2 else "multiclass",
            "num_class": 1 if n_classes == 2 else n_classes,
            "metric": f"{kind}_error",
            "num_leaves": 255,
            "learning_rate": 0.3,
            "min_data_in_leaf": 1,
            "min_sum_hessian_in_leaf": 0.0,
            "verbose": -1,
            "seed": 0,
        }
        deadline = time.monotonic() + self.time_limit
        state = {"rounds": 0, "error": 1.0}

        def stop_when_done(environment: Any) -> None:
            results = environment.evaluation_result_list
            state["rounds"], state["error"] = environment.iteration + 1, results[0][2]
            out_of_time = time.monotonic() > deadline
            if state["error"] == 0 or out_of_time:
                raise lightgbm.callback.EarlyStopException(environment.iteration, results)

        data = lightgbm.Dataset(X, codes)
        self.booster = lightgbm.train(
            parameters, data, 10_000, valid_sets=[data], callbacks=[stop_when_done]
        )
        reached = "accuracy 1" if state["error"] == 0 else f"stopped at {self.time_limit:g} s,"
        self.note = f"{reached} after {state['rounds']} rounds"

    def predict(self, X: Points) -> Labels:
        """Predict."""
        scores: Any = self.booster.predict(X)
        if scores.ndim == 1:
            return self.classes[(scores > 0.5).astype(np.intp)]
        return self.classes[scores.argmax(axis=1)]

    def model(self) -> tuple[int, dict[str, int]]:
        """Give the size of the model's text."""
        return packed_size(self.booster.model_to_string().encode()), {}


def roster(width: int, seconds: float) -> dict[str, Classifier]:
    """Name everything that is compared.

    Parameters
    ----------
    width : int
        Hyperplanes of fastmem, where its configuration has no width of its own, and of the dense
        peer.
    seconds : float
        When peers that train in a loop stop.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    cores = all_threads()
    known = inspect.signature(fastmem.interpolate).parameters
    entries: dict[str, Classifier] = {
        f"fastmem, {name}": Fastmem(width, arguments)
        for name, arguments in CONFIGURATIONS.items()
        if arguments.keys() <= known.keys()
    }
    return entries | {
        DENSE: Dense(width),
        "1 nearest neighbour": Sklearn(lambda: KNeighborsClassifier(1, n_jobs=cores)),
        "decision tree": Sklearn(lambda: DecisionTreeClassifier(random_state=0)),
        "100 extra trees": Sklearn(lambda: ExtraTreesClassifier(100, n_jobs=cores, random_state=0)),
        "LightGBM, 255 leaves": LightGbm(seconds),
        "perceptron, 512 hidden": Perceptron(512, seconds),
    }


def names() -> list[str]:
    """Names of all rows of a comparison."""
    return list(roster(64, 1.0))
