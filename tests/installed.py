"""What an installed wheel does with nothing but the core's dependencies: run by ``.ci/run``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import files, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import fastmem


def main() -> None:
    """Fit, save, load and predict; ask for each extra; look at the installed files."""
    package = Path(fastmem.__file__).parent
    assert "site-packages" in package.parts, f"{package} is a checkout, not an installation"
    assert fastmem.__version__ == version("fastmem")
    names = [str(name) for name in files("fastmem") or ()]
    assert "fastmem/CITATION.cff" in names
    assert not [name for name in names if re.match(r"tests|bench|.*/docs/|.*/figures/", name)]

    generator = np.random.default_rng(0)
    X = generator.standard_normal((500, 5))
    y = generator.integers(3, size=500)
    network = fastmem.interpolate(X, y, seed=0)
    assert (network.predict(X) == y).all()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.npz"
        network.save(path)
        assert (fastmem.load(path).predict(X) == y).all()

    for wanted, program in {
        "typer": "from fastmem.cli import main; main()",
        "matplotlib": "from fastmem.plots import save_decision_regions as s; "
        "import fastmem; X = [[0.0, 0.0], [1.0, 1.0]]; "
        "s('no.png', fastmem.interpolate(X, [0, 1]), X, [0, 1])",
        "sklearn": "import fastmem.sklearn",
    }.items():
        if find_spec(wanted) is None:
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
            assert done.returncode and wanted in done.stderr, (wanted, done)
    print(f"fastmem {fastmem.__version__} on Python {sys.version.split()[0]}: installed and right")


if __name__ == "__main__":
    main()
