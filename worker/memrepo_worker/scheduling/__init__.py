"""Per-agent order, groups and retries. Knows no Celery."""
