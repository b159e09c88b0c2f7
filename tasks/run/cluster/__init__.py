"""start, stop, scaleout, checkpoint: a plan, then steps."""
