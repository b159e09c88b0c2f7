"""What a running cluster is offered: names, a pretended internet."""
