"""The ``memrepo`` command: the producer's commands, and those that installed packages add."""
