"""Messages in, requests to the mailbox, outcomes out. Celery's consumer and its steps are touched here alone."""
