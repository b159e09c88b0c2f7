"""A running cluster, found out and never remembered."""
