"""Folders of very many files: their trees as they are stored, never taken apart as a whole."""
