"""The Celery side of a worker: shard queues, their owners, and the way of a message into a mailbox and out."""
