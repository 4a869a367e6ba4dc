"""The story of each operation: what a group of requests does to an agent's repository."""
