"""The producer's commands of ``memrepo``."""
