"""What is built: one folder a kind of artifact."""
