"""How threads share what is scarce: the store, and Python's lock."""
