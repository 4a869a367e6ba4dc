"""The worker: warm git repositories in front of a durable journal in object storage."""
