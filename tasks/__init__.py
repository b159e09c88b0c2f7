"""Task creators, one noun a module; recipes beside them. See docs/architecture.md."""
