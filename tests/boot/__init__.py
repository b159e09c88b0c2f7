"""Tests that boot virtual machines."""
