"""verify: what a topology promises, tried."""
