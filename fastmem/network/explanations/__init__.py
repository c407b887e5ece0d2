"""Why a network gives a point its label, and what would change that."""
