"""Searching: what is looked for, and in which files."""
