"""Networks are, bit for bit, those of tests/recorded.json."""

from __future__ import annotations

import pytest
import recorded


@pytest.fixture(scope="module", autouse=True)
def same_draws():
    if recorded.recorded()["draws"] != recorded.draws():
        pytest.skip(recorded.circumstances())


@pytest.mark.parametrize("n_threads", recorded.THREADS)
@pytest.mark.parametrize("name", recorded.CASES)
def test_the_same_network_as_recorded(name, n_threads):
    if missing := recorded.CASES[name].missing():
        pytest.skip(f"needs {', '.join(missing)}")
    lines = recorded.differences(name, recorded.found(name, n_threads))
    if lines:
        pytest.fail("\n".join([f"{name}: {recorded.circumstances()}", *lines]), pytrace=False)


def test_every_case_is_recorded():
    assert set(recorded.CASES) == set(recorded.recorded()["cases"])
