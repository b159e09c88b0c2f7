"""What users define, as immutable values: keys of YAML files, settings, names, versions, the lock file."""
