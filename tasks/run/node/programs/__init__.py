"""Programs of their own, which the rest starts."""
