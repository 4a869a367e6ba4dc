"""What memrepo lets through, the same rules for producers and workers."""
