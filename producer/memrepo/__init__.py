"""memrepo: each agent's memory is a git repository, kept in object storage and served through Celery."""
