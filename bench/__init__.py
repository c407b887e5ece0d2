"""Measurements: pytest-benchmark files, the bars of the design, and the published moons."""
