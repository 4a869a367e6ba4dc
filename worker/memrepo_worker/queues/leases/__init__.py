"""Which shards this process owns: heartbeats, take-over, release. Knows no Celery."""
