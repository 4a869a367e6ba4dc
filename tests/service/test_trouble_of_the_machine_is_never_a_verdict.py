"""A full disk, no right, no git: served from elsewhere or waited for, and every answer is a healthy worker's."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from memrepo.errors import MemoryRepoError
from memrepo.settings import environment
from memrepo_worker.git.command import Git, GitTooSlowError, GitTroubleError, GitUnusableError
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packs import encode_index, encode_pack
from memrepo_worker.group import Agent
from memrepo_worker.repos import warm as warm_module
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.spare import SpareFolders
from memrepo_worker.service.machine import CacheTrouble
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.git_in_trouble import GitInTrouble, git_in_trouble, only_spare_folder
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, Writer, commit, create, files, history, writer


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitInTrouble:
    return git_in_trouble(tmp_path, monkeypatch)


@pytest.fixture
def spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return only_spare_folder(tmp_path, monkeypatch)


@dataclass
class Disk:
    """The disk under a cache folder: whether it takes what we write there, and what git does."""

    cache: Path
    git: GitInTrouble
    monkeypatch: pytest.MonkeyPatch

    def fill(self, number: int = errno.ENOSPC) -> None:
        write = warm_module._write

        def refuse(path: Path, data: bytes) -> None:
            if path.is_relative_to(self.cache):
                raise OSError(number, os.strerror(number), str(path))
            write(path, data)

        self.monkeypatch.setattr(warm_module, "_write", refuse)
        self.git.says_below(self.cache, os.strerror(number))

    def mend(self) -> None:
        self.monkeypatch.undo()
        self.git.mend()


@pytest.fixture
def disk(tmp_path: Path, git: GitInTrouble, spare: Path) -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        yield Disk(tmp_path / "two", git, patch)


@pytest.fixture
def known(store: LocalStore, tmp_path: Path, git: GitInTrouble) -> dict[str, str]:
    """A memory of several entries, made by another worker; its files."""
    with writer(store, tmp_path / "one") as one:
        one.ask(create(first="1"))
        one.ask(commit("second"))
        return one.texts()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_an_agent_is_served_without_the_cache_while_that_cannot_be_written(
    known: dict[str, str], number: int, store: LocalStore, disk: Disk, spare: Path
) -> None:
    with writer(store, disk.cache) as two:
        disk.fill(number)
        assert two.texts() == known
        made = two.ask(commit("third", request_id="only-once"))
        assert two.ask(commit("third", request_id="only-once")) == made
        assert two.messages() == ["Initial commit", "second", "third"]
        assert list(spare.glob("*/*")) == []
        assert list(disk.cache.rglob("*.pack")) == []
    assert list(spare.iterdir()) == []


def test_a_cache_that_can_be_written_again_is_used_again(
    known: dict[str, str], store: LocalStore, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [0.0]
    with writer(store, disk.cache) as two, caplog.at_level(logging.WARNING):
        two.service = replace(two.service, trouble=CacheTrouble(lambda: now_s[0]))
        disk.fill()
        for _ in range(5):
            assert two.texts() == known
        disk.mend()
        now_s[0] += 100
        assert two.texts() == known
        assert two.counters.snapshot()["cache.passed_by"] == 5
        assert list(disk.cache.rglob("*.pack")) != []
    begins, ends = [line.getMessage() for line in caplog.records]
    assert "no space left on device (ENOSPC); make room where MEMREPO_CACHE_DIR is" in begins or (
        "git: no space left on device" in begins
    )
    assert ends.startswith("over after")


def test_what_is_warm_is_served_and_goes_on_while_the_disk_is_full(
    known: dict[str, str], store: LocalStore, disk: Disk
) -> None:
    with writer(store, disk.cache) as two:
        assert two.texts() == known
        disk.fill()
        for number in range(70):  # more than wait in memory
            assert two.ask(commit(f"step {number}")).created
        assert two.messages() == ["Initial commit", "second", *(f"step {number}" for number in range(70))]


def test_idle_ones_make_room_before_the_cache_is_passed_by(
    known: dict[str, str], store: LocalStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(store, disk.cache) as two:
        for number in range(4):
            two.agent = Agent("acme", f"idle-{number}")
            two.ask(create().model_copy(update={"agent_id": two.agent.agent_id}))
        two.agent = AGENT
        write = warm_module._write

        def refuse_beside_many(path: Path, data: bytes) -> None:
            if path.is_relative_to(disk.cache) and len(two.service.cache) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(path, data)

        monkeypatch.setattr(warm_module, "_write", refuse_beside_many)
        assert two.texts() == known
        assert len(two.service.cache) == 3
        assert "cache.passed_by" not in two.counters.snapshot()


def test_who_is_at_work_makes_no_room(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        with one.service.cache.hold(AGENT):
            assert one.service.cache.make_room() == 0
            assert one.warm().state.seq == 1
        assert one.service.cache.make_room() == 1


@pytest.mark.parametrize("how", ["missing", "killed", "slow"])
def test_git_that_cannot_run_is_waited_for(
    known: dict[str, str],
    how: str,
    store: LocalStore,
    tmp_path: Path,
    git: GitInTrouble,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with writer(store, tmp_path / "two") as two:
        if how == "slow":
            monkeypatch.setattr(
                two.service.cache, "_git", replace(stock_git(), search_path=str(git.folder), timeout_s=0.3)
            )
        getattr(git, {"missing": "go_away", "killed": "be_killed", "slow": "be_slow"}[how])()
        for _ in range(3):
            with pytest.raises(UnavailableError, match="the worker's machine is in trouble: git "):
                two.ask(commit("third", request_id="only-once"))
        git.mend()
        if how == "slow":
            monkeypatch.setattr(two.service.cache, "_git", stock_git())
        assert two.ask(commit("third", request_id="only-once")).created
        assert two.messages() == ["Initial commit", "second", "third"]
        assert two.texts() == {**known, "third": "third"}


def test_what_needs_no_git_is_served_while_there_is_none(
    store: LocalStore, tmp_path: Path, git: GitInTrouble
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create(first="1"))
        git.go_away()
        with pytest.raises(UnavailableError):
            one.ask(history().model_copy(update={"path": "first"}))
        assert one.ask(commit("second")).created
        assert one.texts() == {"first": "1", "second": "second"}
        git.mend()
        assert len(one.ask(history().model_copy(update={"path": "first"}))) == 1


def test_a_copy_that_is_damaged_again_at_once_is_waited_out(
    known: dict[str, str], store: LocalStore, tmp_path: Path, spare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zeroed(self: Git, repo: Path, pack: bytes) -> str:
        made = index_pack(self, repo, pack)
        for path in repo.rglob("*.pack"):
            path.chmod(0o600)
            path.write_bytes(bytes(path.stat().st_size))
        return made

    index_pack = Git.index_pack
    with writer(store, tmp_path / "two") as two:
        with monkeypatch.context() as patch:
            patch.setattr(Git, "index_pack", zeroed)
            for request in (
                files(),
                commit("third", request_id="only-once"),
                commit("x", start_point="main~1", branch="b"),
            ):
                with pytest.raises(UnavailableError, match="the worker's machine is in trouble"):
                    two.ask(request)
        assert two.ask(commit("third", request_id="only-once")).created
        assert two.texts() == {**known, "third": "third"}


@pytest.mark.parametrize("suffixes", [(".idx",), (".idx", ".pack"), (".pack",)])
@pytest.mark.parametrize("times", [1, 1000])
def test_a_pack_that_the_disk_loses_while_a_copy_is_made_is_no_damage_of_the_store(
    suffixes: tuple[str, ...],
    times: int,
    known: dict[str, str],
    store: LocalStore,
    tmp_path: Path,
    spare: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter(range(times))

    def lost(self: Git, repo: Path, pack: bytes) -> str:
        made = index_pack(self, repo, pack)
        if next(left, None) is not None:
            for suffix in suffixes:
                (repo / f"objects/pack/pack-{made}{suffix}").unlink()
        return made

    index_pack = Git.index_pack
    with writer(store, tmp_path / "two") as two:
        with monkeypatch.context() as patch:
            patch.setattr(Git, "index_pack", lost)
            if times == 1:
                assert two.texts() == known
            else:
                with pytest.raises(UnavailableError, match="the worker's machine is in trouble"):
                    two.texts()
        assert two.texts() == known


def test_where_no_place_takes_it_the_requests_wait(
    known: dict[str, str], store: LocalStore, tmp_path: Path, spare: Path, git: GitInTrouble
) -> None:
    with writer(store, tmp_path / "two") as two:
        git.says_below(tmp_path, "No space left on device")
        with pytest.raises(UnavailableError, match="no space left on device"):
            two.ask(commit("third", request_id="only-once"))
        git.mend()
        assert two.ask(commit("third", request_id="only-once")).created


ITEM = GitObject(Kind.BLOB, b"text")


def written_pack(folder: Path) -> Path:
    """Write a pack of one object."""
    pack = encode_pack({object_id(ITEM): ITEM})
    stem = folder / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir()
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(encode_index(pack))
    return stem.with_suffix(".pack")


def test_an_index_that_leads_to_another_object_is_damage(tmp_path: Path) -> None:
    other = GitObject(Kind.BLOB, b"another's")
    pack = encode_pack({object_id(item): item for item in (ITEM, other)})
    first, second = sorted(pack.objects, key=lambda placed: placed.sha)
    index = encode_index(pack)
    offsets = first.offset.to_bytes(4) + second.offset.to_bytes(4)
    assert index.count(offsets) == 1
    stem = tmp_path / "pack" / f"pack-{pack.checksum}"
    stem.parent.mkdir()
    stem.with_suffix(".pack").write_bytes(pack.data)
    stem.with_suffix(".idx").write_bytes(index.replace(offsets, offsets[4:] + offsets[:4]))
    with pytest.raises(ObjectMissingError, match="is damaged"):
        PackDirectory(tmp_path).find(object_id(ITEM))


@pytest.mark.parametrize("kind", [0, 5])
def test_an_object_of_no_kind_is_damage(tmp_path: Path, kind: int) -> None:
    pack = written_pack(tmp_path)
    data = bytearray(pack.read_bytes())
    data[12] = data[12] & 0b1000_1111 | kind << 4  # the first object's head follows the pack's
    pack.write_bytes(data)
    packs = PackDirectory(tmp_path)
    for look in (packs.find, packs.header):
        with pytest.raises(ObjectMissingError):
            look(object_id(ITEM))


def test_an_object_that_cannot_be_opened_is_not_called_absent(tmp_path: Path) -> None:
    item = ITEM
    written_pack(tmp_path)
    packs = PackDirectory(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        with pytest.raises((ObjectMissingError, OSError)):
            packs.find(object_id(item))
        with pytest.raises((ObjectMissingError, OSError)):
            packs.ids_beginning(object_id(item)[:8])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert packs.find(object_id(item)) == item
    assert packs.find("0" * 40) is None


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (lambda git: git.says_below(Path("/"), "No space left on device"), GitTroubleError),
        (lambda git: git.says_below(Path("/"), "Too many open files"), GitTroubleError),
        (lambda git: git.go_away(), GitUnusableError),
        (lambda git: git.be_killed(), GitUnusableError),
    ],
)
def test_gits_own_trouble_is_told_from_what_it_finds(
    git: GitInTrouble, trouble: Callable[[GitInTrouble], None], kind: type[Exception], tmp_path: Path
) -> None:
    mine = replace(stock_git(), search_path=environment()["PATH"])
    trouble(git)
    with pytest.raises(kind) as met:
        mine.index_pack(tmp_path, b"PACK")
    assert not isinstance(met.value, GitTooSlowError)
    assert str(tmp_path) not in str(met.value)


def test_what_an_earlier_process_left_elsewhere_is_removed(tmp_path: Path) -> None:
    spare = SpareFolders("mine", (tmp_path,))
    for place in spare.places():
        (place / "objects").mkdir(parents=True)
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700

    SpareFolders("mine", (tmp_path,))

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_others_could_read_or_lead_elsewhere_is_not_used(tmp_path: Path) -> None:
    spare = SpareFolders("mine", (tmp_path,))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")
    assert list(spare.places()) == []
    (tmp_path / "mine").unlink()
    (tmp_path / "mine").mkdir(mode=0o755)
    assert list(spare.places()) == []


def test_nobody_else_may_read_what_lies_in_the_cache(store: LocalStore, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with writer(store, tmp_path / "new" / "cache") as one:
            one.ask(create(first="1"))
    finally:
        os.umask(mask)
    assert (tmp_path / "new" / "cache").stat().st_mode & 0o077 == 0
    (slot,) = (tmp_path / "new" / "cache").iterdir()
    assert slot.stat().st_mode & 0o077 == 0
    (state,) = slot.rglob("memrepo.json")
    assert state.stat().st_mode & 0o077 == 0


def test_a_slot_that_another_user_made_is_passed_over(
    tmp_path: Path, one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chmod = Path.chmod

    def of_another(self: Path, mode: int) -> None:
        if self.name == "slot-000":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        chmod(self, mode)

    monkeypatch.setattr(Path, "chmod", of_another)
    cache = RepoCache(tmp_path / "cache", "memory://", stock_git(), one.counters)
    cache.close()
    assert (tmp_path / "cache" / "slot-001").is_dir()


def test_a_signal_that_ends_git_is_named(git: GitInTrouble) -> None:
    git.be_killed()
    with pytest.raises(GitUnusableError, match=f"git was killed by {signal.SIGKILL.name}"):
        replace(stock_git(), search_path=environment()["PATH"]).run(["--version"])
    assert issubclass(GitUnusableError, GitTroubleError)
    assert not issubclass(GitUnusableError, MemoryRepoError)
