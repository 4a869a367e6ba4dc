"""Watches that look of their own accord as good as never: what they tell has come because they were told."""

from __future__ import annotations

import threading

import pytest

from memrepo import ChangeFeed
from memrepo.repo.watch import Watch


def looks_of_watches(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set whenever a watch has looked; until the test ends none looks twice by its timer."""
    looked, take = threading.Event(), Watch._take

    def take_and_tell(watch: Watch, feed: ChangeFeed) -> float:
        pause_s = take(watch, feed)
        looked.set()
        return pause_s

    monkeypatch.setattr("memrepo.repo.watch.LOOK_S", 3600.0)
    monkeypatch.setattr(Watch, "_take", take_and_tell)
    return looked
