"""Kernels that take many minutes to compile, in guests; see docs/testing.md."""
