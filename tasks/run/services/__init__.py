"""The services for a running cluster: DNS, and a pretended internet."""
