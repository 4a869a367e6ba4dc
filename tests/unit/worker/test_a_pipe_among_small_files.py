"""A named pipe in the place of a small file of the cache folder, or of a store: nobody waits for its other end."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from memrepo_worker.files.regular import make_way
from memrepo_worker.liveness import LivenessFile, workers_seen
from memrepo_worker.store.backends.files.anchor import Anchor
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from memrepo_worker.store.probe import VERDICTS, probe_daily
from memrepo_worker.upkeep.scratch import scratch_folder, sweep_scratch

pytestmark = pytest.mark.timeout(30)


def _pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    return path


@pytest.mark.parametrize("place", ["lock", "left/lock"])
def test_a_start_sweeps_past_it_and_folding_goes_on(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = _pipe(tmp_path / place)
    with caplog.at_level(logging.WARNING):
        sweep_scratch(tmp_path)

    assert str(pipe) in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    _pipe(tmp_path / place)
    with scratch_folder(tmp_path) as folder:
        sweep_scratch(tmp_path)
        assert (folder / "lock").is_file(), "one that is in use stays"
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_worker_is_seen_to_live_whatever_lies_beside_and_in_the_place_of_its_file(tmp_path: Path) -> None:
    _pipe(tmp_path / "alive" / "gone")
    (tmp_path / "alive" / "folder").mkdir()
    file = LivenessFile(tmp_path, "w1@host/1", "host")
    file.touch()
    (path,) = (tmp_path / "alive").iterdir()
    assert [seen.name for seen in workers_seen(tmp_path, "host", 0.0)] == ["w1@host/1"]

    _pipe(path)
    file.touch()
    assert [seen.name for seen in workers_seen(tmp_path, "host", 0.0)] == ["w1@host/1"]

    _pipe(path)
    assert not [*workers_seen(tmp_path, "host", 0.0)]
    file.touch()
    assert [seen.name for seen in workers_seen(tmp_path, "host", 0.0)] == ["w1@host/1"]
    file.remove()


def test_a_store_is_tried_out_where_its_verdict_was(tmp_path: Path) -> None:
    store, cache = LocalStore(tmp_path / "store"), tmp_path / "cache"
    _pipe(cache / VERDICTS)
    probe_daily(store, cache, lambda: 1_750_000_000.0)
    assert store.name in (cache / VERDICTS).read_text()

    (cache / VERDICTS).unlink()
    (cache / VERDICTS).mkdir()
    probe_daily(store, cache, lambda: 1_750_000_000.0)
    assert (cache / VERDICTS).is_file()


def test_a_store_whose_anchor_it_replaced_is_not_the_one_that_it_was(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    path.write_text("this store")
    anchor = Anchor(path)
    anchor.check()

    _pipe(path)
    with pytest.raises(UnavailableError, match="another one"):
        anchor.check()
    with pytest.raises(UnavailableError, match="is not there"):
        Anchor(path)


@pytest.mark.parametrize("is_link", [False, True])
def test_way_is_made_for_a_file_alone(is_link: bool, tmp_path: Path) -> None:
    """A file stays, also one that came meanwhile; of a link, the link alone is removed."""
    path, beside = tmp_path / "lock", tmp_path / "beside"
    beside.mkdir()
    (beside / "kept").write_text("kept")
    make_way(path)
    if is_link:
        path.symlink_to(beside)
    else:
        path.write_text("mine")

    make_way(path)

    assert path.exists() != is_link
    assert (beside / "kept").read_text() == "kept"
