"""The entry points: they call the rooms below, which do the work."""
