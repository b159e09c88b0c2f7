"""Kubernetes in a running cluster."""
