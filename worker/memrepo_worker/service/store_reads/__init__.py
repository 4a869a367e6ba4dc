"""Reads that the store itself answers, and not an agent's warm repository."""
