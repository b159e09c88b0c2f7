"""What a node runs as. It knows nets only as NICs."""
