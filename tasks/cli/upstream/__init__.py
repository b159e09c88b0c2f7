"""Words of xcluster that scripts ask."""
