"""The probe finds every real backend safe, and leaves nothing behind."""

from __future__ import annotations

from memrepo_worker.store.probe import check_lifecycle, probe
from memrepo_worker.store.seam import Store


def test_every_backend(store: Store) -> None:
    probe(store)
    assert list(store.list("")) == []


def test_buckets_without_lifecycle_rules(store: Store) -> None:
    check_lifecycle(store)
