"""In a bucket with versioning a deleted object counts as absent: a number freed by a delete could be taken again.

The journal frees none. The test shows both: that such a bucket would let a create succeed over a deleted object, and
that a paused writer still loses after a delete and a new beginning.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from memrepo_worker.store.interface import ABSENT, PreconditionFailedError, Store
from memrepo_worker.store.open import open_store
from tests.support.hooked_store import HookedStore
from tests.support.seaweedfs import SeaweedFs
from tests.support.writers import commit, create, delete, writer


@pytest.fixture
def versioned(s3_server: SeaweedFs, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(s3_server.versioned_url("versioned"))


def test_a_paused_writer_loses_also_after_a_delete_in_a_versioned_bucket(
    versioned: Store, tmp_path: Path
) -> None:
    versioned.put("probe/key", b"1", ABSENT)
    with pytest.raises(PreconditionFailedError):
        versioned.put("probe/key", b"2", ABSENT)
    versioned.delete(["probe/key"])
    versioned.put("probe/key", b"2", ABSENT)  # the trap: versions remain, yet the number is free

    hooked, others = HookedStore(versioned), HookedStore(versioned)
    with writer(hooked, tmp_path / "a") as paused, writer(others, tmp_path / "b") as other:
        paused.ask(create(human="x"))

        def much_happens() -> None:
            other.ask(commit("one"))
            other.ask(delete())
            other.ask(create(new="life"))

        hooked.before_put = much_happens
        paused.ask(commit("paused"))

        other.new_lease()
        assert other.messages() == ["Initial commit", "paused"]
        assert other.texts() == {"new": "life", "paused": "paused"}
    assert not [key for key in hooked.deleted + others.deleted if "/journal/" in key]
