"""What memrepo uses of Celery, which ships no types. A name that is not here is untyped, as it would be without."""

from typing import Any

from celery import bootsteps as bootsteps
from celery import platforms as platforms
from celery import signals as signals
from celery import states as states
from celery.app.base import Celery as Celery

def __getattr__(name: str) -> Any: ...
