"""The verb `verify`: it tries every connection that a topology promises."""
