"""A running cluster, as it is at the moment when it is looked at."""
