"""Tests of a running cluster as an object: what is on the disk, and which processes there are."""
