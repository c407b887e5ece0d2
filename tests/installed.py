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
    assert fastmem.__version__ == version("fastmem-nets")
    names = [str(name) for name in files("fastmem-nets") or ()]
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

    setup = "import fastmem; X = [[0.0, 0.0], [1.0, 1.0]]; net = fastmem.interpolate(X, [0, 1])\n"
    picture = "from fastmem import plots; plots.save_decision_regions('no.png', net, X, [0, 1])"
    for extra, module, program in (
        ("cli", "typer", "from fastmem.cli import main; main()"),
        ("plot", "matplotlib", picture),
        ("sklearn", "sklearn", "import fastmem.sklearn"),
        ("sklearn", "sklearn", "from fastmem import datasets; datasets.digits784(10)"),
        ("onnx", "onnx", "from fastmem.export import to_onnx; to_onnx(net, 'no.onnx')"),
        ("torch", "torch", "from fastmem.export import to_torch; to_torch(net)"),
    ):
        if find_spec(module) is None:
            done = subprocess.run(
                [sys.executable, "-c", setup + program], capture_output=True, text=True
            )
            assert done.returncode and f'"fastmem-nets[{extra}]"' in done.stderr, (
                extra,
                done.stderr,
            )
    print(f"fastmem {fastmem.__version__} on Python {sys.version.split()[0]}: installed and right")


if __name__ == "__main__":
    main()
