"""Replaying a git repository's history through the queue, as one agent's memory."""
