"""Which commits changed a path."""
