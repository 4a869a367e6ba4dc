"""Delivering shard messages. kombu's transport is touched here alone."""
