from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path

import pytest

from memrepo_worker.store.backends.files import tree
from memrepo_worker.store.backends.local import TEMPORARY, LocalStore
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotBegunError,
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    UnavailableError,
    Version,
)
from tests.support.started import started

KEY = "acme/agent-42/repo.git/journal/00000000000000000001.bundle"

HOLD_A_TEMPORARY_FILE = """
import pathlib, sys, time
from memrepo_worker.store.backends.local import LocalStore
store = LocalStore(pathlib.Path(sys.argv[1]))
with store._temporary_file([b"half a put"], store._begin()):
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(60)
"""


def temporary_files(root: Path) -> list[Path]:
    return list((root / TEMPORARY).iterdir())


def keys(store: LocalStore, prefix: str = "") -> list[str]:
    return [line.key for line in store.list(prefix)]


def made_while_read(
    monkeypatch: pytest.MonkeyPatch,
    store: LocalStore,
    *,
    makes: Sequence[str],
    gives: set[str],
    at_reading: int = 1,
) -> None:
    """Have files made while a folder is read for the nth time, of which that reading gives only ``gives``."""
    scandir, readings = os.scandir, count(1)

    @contextmanager
    def reading(folder: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        if next(readings) == at_reading:
            for key in makes:
                store.put(key, b"x", ABSENT)
            with scandir(folder) as entries:
                yield (entry for entry in entries if entry.name in gives)
        else:
            with scandir(folder) as entries:
                yield entries

    monkeypatch.setattr(os, "scandir", reading)


class TestAPut:
    def test_is_found_by_people_under_its_key(self, tmp_path: Path) -> None:
        LocalStore(tmp_path).put(KEY, b"a bundle", ABSENT)
        assert (tmp_path / KEY).read_bytes() == b"a bundle"

    def test_leaves_no_temporary_file(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        store.put(KEY, b"first", ABSENT)
        store.put(KEY, b"second", ALWAYS)
        assert temporary_files(tmp_path) == []

    def test_syncs_the_file_and_every_folder_that_names_it(self, tmp_path: Path, synced: list[str]) -> None:
        store = LocalStore(tmp_path)
        synced.clear()
        store.put("acme/agent/entry", b"x", ABSENT)
        file = synced.index("temporary file")
        assert set(synced[:file]) == {".", "acme"}
        assert synced[file + 1 :] == ["acme/agent"]

    def test_syncs_only_the_file_and_its_folder_the_next_time(
        self, tmp_path: Path, synced: list[str]
    ) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/agent/1", b"x", ABSENT)
        synced.clear()
        store.put("acme/agent/2", b"x", ABSENT)
        assert synced == ["temporary file", "acme/agent"]


class TestAReader:
    def test_makes_durable_what_its_writer_may_not_have_yet(self, tmp_path: Path, synced: list[str]) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/entry", b"x", ABSENT)
        os.link(tmp_path / "acme/entry", tmp_path / TEMPORARY / "of-a-writer-that-stopped-after-the-link")
        synced.clear()
        store.get("acme/entry")
        assert synced == ["acme"]

    def test_syncs_nothing_else(self, tmp_path: Path, synced: list[str]) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/entry", b"x", ABSENT)
        synced.clear()
        store.get("acme/entry")
        assert synced == []


class TestADeadWriter:
    @pytest.fixture
    def process(self, tmp_path: Path) -> Iterator[int]:
        """A process in the middle of a put."""
        translating_errors = tmp_path / "told"
        arguments = [
            sys.executable,
            "-c",
            HOLD_A_TEMPORARY_FILE,
            str(tmp_path / "store"),
            str(translating_errors),
        ]
        with started(arguments, folder=tmp_path, ready=translating_errors.exists) as process:
            yield process.pid

    def test_leaves_a_file_that_the_next_start_sweeps(self, tmp_path: Path, process: int) -> None:
        os.kill(process, 9)
        os.waitpid(process, 0)
        assert len(temporary_files(tmp_path / "store")) == 1
        store = LocalStore(tmp_path / "store")
        assert temporary_files(tmp_path / "store") == []
        assert keys(store) == []

    def test_is_told_from_one_that_lives(self, tmp_path: Path, process: int) -> None:
        store = LocalStore(tmp_path / "store")
        assert len(temporary_files(tmp_path / "store")) == 1
        assert keys(store) == []


class TestAListing:
    def test_shows_no_file_of_others(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/entry", b"x", ABSENT)
        (tmp_path / "acme" / ".DS_Store").touch()
        (tmp_path / "acme" / "README").touch()
        assert keys(store) == ["acme/entry"]

    def test_reads_only_folders_that_can_hold_what_is_asked(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/entry", b"x", ABSENT)
        store.put("other/entry", b"x", ABSENT)
        (tmp_path / "other").rename(tmp_path / "gone")
        (tmp_path / "other").symlink_to(tmp_path / "other")  # reading it would fail
        assert [line.key for line in store.list("acme/")] == ["acme/entry"]


class TestAListingBesideAWriter:
    """What a folder gives while files are made in it is up to the system: these are orders that ext4 has given."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        store = LocalStore(tmp_path / "store")
        for name in "12":
            store.put(f"a/{name}", b"x", ABSENT)
        return store

    def test_has_no_gap_in_a_large_folder(self, store: LocalStore, tmp_path: Path) -> None:
        def write_until(over: threading.Event) -> None:
            for number in takewhile(lambda _: not over.is_set(), count(1)):
                (tmp_path / "store/b" / f"{number:012d}").touch()

        (tmp_path / "store/b").mkdir()
        for number in range(1, 5_000):
            (tmp_path / "store/b" / f"{-number:012d}").touch()
        over = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            written = thread.submit(write_until, over)
            try:
                listings = [keys(store, "b/0") for _ in range(10)]
            finally:
                over.set()
            written.result()
        gapless = [[f"b/{number:012d}" for number in range(1, len(found) + 1)] for found in listings]
        assert listings == gapless

    def test_gives_no_key_without_one_that_was_made_before_it(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made_while_read(monkeypatch, store, makes=("a/3", "a/4"), gives={"1", "2", "4"})
        assert keys(store, "a/") == ["a/1", "a/2", "a/3", "a/4"]

    def test_gives_none_that_only_the_second_reading_saw_beyond_the_first(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made_while_read(monkeypatch, store, makes=("a/3", "a/4"), gives={"1", "2", "4"}, at_reading=2)
        assert keys(store, "a/") == ["a/1", "a/2"]

    def test_has_no_gap_where_a_page_ends(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tree, "_PAGE_NODES", 2)
        made_while_read(monkeypatch, store, makes=("a/3", "a/4", "a/5"), gives={"4", "5"}, at_reading=3)
        assert keys(store, "a/") == ["a/1", "a/2", "a/3", "a/4", "a/5"]


class TestAFolderThatCannotBeUsed:
    def test_is_refused_at_once_in_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RefusedError) as refused:
            LocalStore(tmp_path / "file" / "store")
        assert "\n" not in str(refused.value)
        assert str(tmp_path / "file") in str(refused.value)

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
    def test_is_refused_when_it_fills_up_or_closes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        store = LocalStore(tmp_path)
        break_sync(monkeypatch, code)
        with pytest.raises(RefusedError, match=os.strerror(code).lower()):
            store.put(KEY, b"x", ABSENT)
        assert keys(store) == []
        assert temporary_files(tmp_path) == []

    def test_is_unavailable_when_the_disk_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = LocalStore(tmp_path)
        break_sync(monkeypatch, errno.EIO)
        with pytest.raises(UnavailableError):
            store.put(KEY, b"x", ABSENT)

    def test_is_made_again_when_somebody_removed_it(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/entry", b"x", ABSENT)
        shutil.rmtree(tmp_path / "acme")
        with pytest.raises(UnavailableError):
            store.put("acme/entry", b"y", ABSENT)
        store.put("acme/entry", b"z", ABSENT)
        assert store.get("acme/entry").data == b"z"

    def test_refuses_a_key_below_another_key(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/entry", b"x", ABSENT)
        with pytest.raises(RefusedError):
            store.put("acme/entry/below", b"x", ABSENT)


class TestALink:
    """Below the store's folder nothing is reached through a link, wherever in the key it lies."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        store = LocalStore(tmp_path / "store")
        for agent in ("victim", "evil"):
            store.put(f"{agent}/a/repo.git/journal/1", agent.encode(), ABSENT)
        return store

    @pytest.mark.parametrize("depth", range(1, 6))
    def test_leads_nobody_to_what_another_wrote(self, store: LocalStore, tmp_path: Path, depth: int) -> None:
        parts = ["evil", "a", "repo.git", "journal", "1"][:depth]
        linked, led_to = (tmp_path / "store").joinpath(*parts), ["victim", *parts[1:]]
        shutil.rmtree(linked) if linked.is_dir() else linked.unlink()
        linked.symlink_to((tmp_path / "store").joinpath(*led_to))

        key = "evil/a/repo.git/journal/1"
        with pytest.raises(RefusedError, match="is a symbolic link"):
            store.get(key)
        if depth < 5:
            for ask in (
                lambda: store.put(key, b"overwritten", ALWAYS),
                lambda: store.put("evil/a/repo.git/journal/2", b"new", ABSENT),
                lambda: store.delete([key]),
                lambda: list(store.list("evil/a/repo.git/journal/")),
            ):
                with pytest.raises(RefusedError, match="is a symbolic link"):
                    ask()
        else:
            with pytest.raises(PreconditionFailedError):
                store.put(key, b"new", ABSENT)
            store.delete([key])
            assert not linked.is_symlink(), "the link went, and not what it leads to"
        assert keys(store).count("victim/a/repo.git/journal/1") == 1
        assert store.get("victim/a/repo.git/journal/1").data == b"victim"

    def test_at_the_place_of_an_object_is_overwritten_itself(self, store: LocalStore, tmp_path: Path) -> None:
        linked = tmp_path / "store/evil/a/repo.git/journal/1"
        linked.unlink()
        linked.symlink_to(tmp_path / "store/victim/a/repo.git/journal/1")
        store.put("evil/a/repo.git/journal/1", b"mine", ALWAYS)
        assert (linked.is_symlink(), linked.read_bytes()) == (False, b"mine")
        assert store.get("victim/a/repo.git/journal/1").data == b"victim"

    def test_to_itself_is_that_agents_trouble_alone(self, store: LocalStore, tmp_path: Path) -> None:
        (tmp_path / "store/evil/a/repo.git/journal/2").symlink_to("2")
        assert [line.key for line in store.list("evil/a/repo.git/journal/")] == [
            "evil/a/repo.git/journal/1",
            "evil/a/repo.git/journal/2",
        ]
        with pytest.raises(RefusedError, match="2 is a symbolic link"):
            store.get("evil/a/repo.git/journal/2")
        assert len(keys(store)) == 3

    def test_above_the_store_is_the_operators(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "link").symlink_to("disk")
        store = LocalStore(tmp_path / "link")
        store.put("acme/entry", b"x", ABSENT)
        assert (tmp_path / "disk/acme/entry").read_bytes() == store.get("acme/entry").data


class TestWhatIsNoFile:
    """At the place of an object it is refused by its name, at once, and is nobody else's trouble."""

    @pytest.fixture(params=["a FIFO", "a socket", "a device"])
    def kind(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        journal = tmp_path / "acme/evil/repo.git/journal"
        journal.mkdir(parents=True)
        match request.param:
            case "a FIFO":
                os.mkfifo(journal / "1")
            case "a socket":
                monkeypatch.chdir(journal)  # a socket's path may have 107 bytes
                with socket.socket(socket.AF_UNIX) as bound:
                    bound.bind("1")
            case "a device":
                try:
                    os.mknod(journal / "1", stat.S_IFCHR | 0o600, os.makedev(1, 3))
                    (journal / "1").open("rb").close()
                except PermissionError:
                    pytest.skip("only root makes devices, and not everywhere")
        return str(request.param)

    def test_is_refused_by_name_and_never_read(self, tmp_path: Path, kind: str) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/good/entry", b"good", ABSENT)
        key = "acme/evil/repo.git/journal/1"
        with pytest.raises(RefusedError, match=f"1 is {kind}, and only a file is read"):
            store.get(key)
        with pytest.raises(RefusedError, match=f"1 is {kind}, and only a file is read"):
            store.put(key, b"mine", Version("of what is there"))
        with pytest.raises(PreconditionFailedError):
            store.put(key, b"mine", ABSENT)
        assert store.get("acme/good/entry").data == b"good"

    def test_is_listed(self, tmp_path: Path, kind: str) -> None:
        assert keys(LocalStore(tmp_path)) == ["acme/evil/repo.git/journal/1"], kind


class TestAFolderInAFilesPlace:
    """Of its key there is no object, and none can be written: which of the two says so, it is the same."""

    @pytest.mark.parametrize("holds", [[], ["below"]])
    def test_is_refused_by_name_where_an_object_is_created(self, tmp_path: Path, holds: list[str]) -> None:
        store = LocalStore(tmp_path)
        (tmp_path / KEY).mkdir(parents=True)
        for name in holds:
            (tmp_path / KEY / name).touch()
        with pytest.raises(RefusedError, match=r"1\.bundle is a folder where a file is to be written"):
            store.put(KEY, b"mine", ABSENT)
        with pytest.raises(NotThereError, match=r"1\.bundle is a folder where a file is to be written"):
            store.get(KEY)
        assert temporary_files(tmp_path) == []
        shutil.rmtree(tmp_path / KEY)
        store.put(KEY, b"mine", ABSENT)
        assert store.get(KEY).data == b"mine"


class TestFoldersInFolders:
    @pytest.mark.parametrize("name", ["d", "d%"], ids=["of components", "of one long component"])
    def test_that_are_deeper_than_any_key_hide_no_object(self, tmp_path: Path, name: str) -> None:
        store = LocalStore(tmp_path)
        store.put("acme/evil/1", b"x", ABSENT)
        store.put("acme/good/1", b"x", ABSENT)
        with deep(tmp_path / "acme/evil", name, 1_200):
            assert keys(store) == ["acme/evil/1", "acme/good/1"]
            assert keys(store, "acme/evil/") == ["acme/evil/1"]
            assert list(store.folders("acme/", "", 10).names) == ["evil", "good"]

    def test_are_read_as_far_as_an_object_may_lie(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        key = "/".join("d" * 128)
        store.put(key, b"x", ABSENT)
        with pytest.raises(RefusedError, match="a key of more than 128 names"):
            store.put(f"e/{key}", b"x", ABSENT)
        assert keys(store) == [key]


@contextmanager
def deep(folder: Path, name: str, levels: int) -> Iterator[None]:
    """Make folders in a folder, by descriptors as a path has no room for them, and remove them by what can."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(levels):
            os.mkdir(name, dir_fd=opened)
            above, opened = opened, os.open(name, os.O_RDONLY, dir_fd=opened)
            os.close(above)
        yield
    finally:
        os.close(opened)
        subprocess.run(["rm", "-rf", str(folder / name)], check=True)


class TestWhoMayReadIt:
    def test_is_its_owner_alone(self, tmp_path: Path) -> None:
        mask = os.umask(0)
        try:
            LocalStore(tmp_path / "store").put("acme/agent/entry", b"x", ABSENT)
        finally:
            os.umask(mask)
        for path in [tmp_path / "store", *(tmp_path / "store").rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path

    def test_is_its_group_too_where_that_may_write_in_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        (tmp_path / "store").chmod(0o2770)
        LocalStore(tmp_path / "store").put("acme/agent/entry", b"x", ABSENT)
        assert (tmp_path / "store/acme/agent").stat().st_mode & 0o7777 == 0o2770
        assert (tmp_path / "store/acme/agent/entry").stat().st_mode & 0o777 == 0o660

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what is another user's")
    def test_is_the_folders_owner_where_root_wrote_it(self, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        os.chown(tmp_path / "store", 1234, 5678)
        LocalStore(tmp_path / "store").put("acme/agent/entry", b"x", ABSENT)
        for path in (tmp_path / "store").rglob("*"):
            assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678), path


class TestAFolderThatIsNotToBeBegun:
    def test_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(NotBegunError, match="there is no such folder: check the address"):
            LocalStore(tmp_path / "mispelt", begin=False)
        assert list(tmp_path.iterdir()) == []

    def test_gets_nothing_of_ours_before_something_is_written(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path, begin=False)
        assert keys(store) == []
        with pytest.raises(NotThereError):
            store.get("acme/entry")
        assert list(tmp_path.iterdir()) == []
        store.put("acme/entry", b"x", ABSENT)
        assert store.get("acme/entry").data == b"x"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(RefusedError, match="its file system has no hard links"):
        LocalStore(tmp_path)
    assert temporary_files(tmp_path) == []


def break_sync(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, in order."""
    names: list[str] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)
        names.append("temporary file" if path.is_relative_to(TEMPORARY) else str(path))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return names
