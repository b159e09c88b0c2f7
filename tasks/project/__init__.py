"""Reads the command line, the environment and the definitions once, into one Project."""
