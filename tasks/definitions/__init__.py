"""What is wanted, as immutable values: keys, settings, addresses, versions."""
