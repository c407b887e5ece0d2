"""Sign patterns: how the bits of points are decided, and where they are kept."""
