"""Bytes in, bytes out: one file format in each module."""
