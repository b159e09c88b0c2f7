"""Secrets, certificates, kubeconfigs, and the overlay that brings them to nodes."""
