"""Bytes and versions in object storage. Knows nothing of git."""
