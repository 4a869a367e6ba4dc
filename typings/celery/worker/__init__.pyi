from typing import Any

from celery.worker import state as state

def __getattr__(name: str) -> Any: ...
