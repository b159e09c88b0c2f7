"""The verbs that look at a running cluster, and those that disturb it."""
