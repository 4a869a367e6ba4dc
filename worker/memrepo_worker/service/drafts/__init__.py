"""The next entry of a memory: what becomes of each request in it."""
