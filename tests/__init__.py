"""Unit tests: no virtual machine, no network. Boot tests have the marker `boot`."""
