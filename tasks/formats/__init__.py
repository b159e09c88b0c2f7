"""Bytes in, bytes out: one file format a module."""
