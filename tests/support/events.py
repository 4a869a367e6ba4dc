"""Celery's events, as they are listened to in tests."""

from __future__ import annotations

import threading

from celery import Celery

from tests.support.waiting import wait_for

HEARD = "listener-heard"
"""An event that is for its listener alone."""


def wait_until_heard(app: Celery, heard: threading.Event) -> None:
    """Send that event until its listener, who sets ``heard``, hears: what others tell before is lost to him."""
    with app.connection_for_write() as connection, app.events.Dispatcher(connection) as telling:

        def is_heard() -> bool:
            telling.send(HEARD)
            return heard.wait(0.05)

        wait_for(is_heard, "the listener to hear")
