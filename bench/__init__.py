"""Measurements: `python -m bench` runs them all, `python -m bench imports --quick` one, at its smallest size."""
