"""The worker's commands, one module each."""
