"""Topologies: from the YAML to the plan of every node, and what follows from the plans."""
