"""Container images: pulled, stored for nodes, served by a registry."""
