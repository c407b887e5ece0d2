"""Measurements: pytest-benchmark files, the bars against peers, and the published moons."""
