"""All code, in folders by subject; docs/architecture.md says which, and who may import whom."""
