"""Measurements: each is a ratio, in one run, against a bare limit that its script names."""
