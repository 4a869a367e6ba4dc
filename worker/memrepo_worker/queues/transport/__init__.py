"""Delivering shard messages. The only room that touches kombu."""
