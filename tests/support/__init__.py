"""Real parts and helpers that tests share."""
