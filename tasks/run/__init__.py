"""What runs: one folder a subject."""
