"""How wide: hyperplanes until all is separated, the fewest parameters, compact networks."""
