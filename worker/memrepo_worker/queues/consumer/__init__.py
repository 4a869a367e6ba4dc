"""Celery's side: messages in, requests to the mailbox, outcomes out. The only room that touches Celery."""
