"""What forks take from other memories: all that leads to a commit, as one pack that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.wire.requests.forks import ForkRequest
from memrepo_worker.bounds import FORK_BYTES, WALK_ENTRIES
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError, GitTroubleError, ObjectFolder
from memrepo_worker.git.objects import GitObject, Kind, encode_commit, object_id
from memrepo_worker.git.reader import ObjectAbsentError, ObjectRefusedError
from memrepo_worker.group import Agent, Lease
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.reading.object_places import naming
from memrepo_worker.journal.reading.presence import EntryLostError
from memrepo_worker.repos.cache import HeldRepo
from memrepo_worker.repos.draft import Copied, View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.commits import compose
from memrepo_worker.service.forks.origin_lines import ORIGINS_MAX, OriginLine, encode_origins
from memrepo_worker.service.forks.origins import origins_of
from memrepo_worker.service.forks.source import naming_source, open_source, warm_source
from memrepo_worker.service.machine import DAMAGE
from memrepo_worker.service.opening import ServiceDependencies, journal_of
from memrepo_worker.service.refs import resolve


class Copies:
    """Makes copies for the forks of one turn, each once however often the turn drafts; they are gone with it."""

    def __init__(self, dependencies: ServiceDependencies, held: HeldRepo, lease: Lease) -> None:
        self._dependencies = dependencies
        self._held = held
        self._lease = lease
        self._made: dict[str, Copied] = {}
        self._places = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.close()

    def copy(self, request: ForkRequest) -> Copied:
        """Return what the request copies.

        Raises:
            MemoryRepoError, NotSettledError: as ``open_source``, ``naming_source`` and ``resolve``.
            TooLargeError: it is more than an entry may hold.
            UnavailableError, RefusedError, OSError, GitTroubleError: nothing is known; try again.
        """
        made = self._made.get(request.request_id)
        if made is None:
            made = self._made[request.request_id] = self._copied(request)
        return made

    def _copied(self, request: ForkRequest) -> Copied:
        source = Agent(request.org_id, request.agent_id)
        place = self._places.enter_context(self._held.beside(source))
        with naming_source(self._dependencies, source):
            copied = self._copied_from_warm(place, source, request)
            if copied is not None:
                return copied
            repo = open_source(self._dependencies, place, source, self._lease)
            try:
                return self._copied_from(repo, place, source, request)
            except ObjectAbsentError as error:
                if repo.packs.fault() is not None:
                    raise
                raise naming(journal_of(self._dependencies, source), error.sha) from error

    def _copied_from_warm(self, place: HeldRepo, source: Agent, request: ForkRequest) -> Copied | None:
        """Return what is copied from the repository that this worker has of the source, or None if that is of no use.

        The request came through the source's queue, so its repository is here, and held, where it is warm at all.
        """
        warm = self._held.neighbour
        if warm is None or warm.agent != source:
            return None
        try:
            repo = warm_source(self._dependencies, warm, self._lease)
            return None if repo is None else self._copied_from(repo, place, source, request)
        except EntryLostError:  # what the store has lost is nowhere else
            raise
        except (*DAMAGE, JournalDamagedError, ObjectRefusedError):
            # Of what is found wrong here the store has the truth, which is read next.
            self._dependencies.observer.count("repo.healed")
            warm.drop()
            return None

    def _copied_from(self, repo: WarmRepo, place: HeldRepo, source: Agent, request: ForkRequest) -> Copied:
        bounds, observer = self._dependencies.bounds, self._dependencies.observer
        with repo.reader.walking(bounds.walk_entries_max, partial(observer.count, WALK_ENTRIES)):
            sha = resolve(request.ref, View(repo.state.refs), repo.reader)
        origin = _origin(repo, source, sha, request)
        pack = place.folder / "copied.pack"
        head, wanted, objects = sha, sha, {object_id(origin): origin}
        if not request.history:
            wanted = repo.reader.commit(sha).tree
            first = _first_commit(request, repo, source, sha)
            head = object_id(first)
            objects[head] = first
        self._write_pack(repo, wanted, pack)
        self._require_size(pack, objects, request)
        return Copied(pack, _read_by_git(repo, wanted, pack), head, object_id(origin), objects)

    def _write_pack(self, repo: WarmRepo, wanted: str, path: Path) -> None:
        """Write all that leads to a commit, or a folder; of what is larger than it may be, the beginning.

        Raises:
            JournalDamagedError: something of it is not there.
            GitOverBoundsError: git needs more memory or time than it may.
        """
        # By name, a base that another entry has, too, could not be taken in together with it.
        options = ["--revs", "--stdout", "--quiet", "--delta-base-offset"]
        with _telling_damage(wanted), path.open("wb") as file:
            place = ObjectFolder(repo.path / "objects")
            try:
                _patient(repo.git).run(
                    ["pack-objects", *options],
                    repo=place,
                    stdin=f"{wanted}\n".encode(),
                    stdout=file,
                    output_bytes_max=self._bytes_max + 1,
                )
            except GitOverBoundsError:
                if path.stat().st_size <= self._bytes_max:
                    raise

    @property
    def _bytes_max(self) -> int:
        """How large a copy may be."""
        bounds = self._dependencies.bounds
        return min(bounds.fork_bytes_max, bounds.entry_bytes_max)

    def _require_size(self, pack: Path, objects: Mapping[str, GitObject], request: ForkRequest) -> None:
        most = self._bytes_max
        if pack.stat().st_size + sum(len(item.data) for item in objects.values()) <= most:
            return
        self._dependencies.observer.count(FORK_BYTES)
        less = "fork without the history (history=False), or raise" if request.history else "raise"
        raise TooLargeError.of(
            "history" if request.history else "ref",
            f"the copy is more than one entry may hold ({most} bytes): {less} MEMREPO_FORK_BYTES_MAX at the workers "
            "(up to MEMREPO_ENTRY_BYTES_MAX)",
            bound="fork_bytes_max",
        )


def _read_by_git(repo: WarmRepo, wanted: str, pack: Path) -> Path:
    """Have git read a copy as each opener of the fork will; return the folder of objects that it has read it into.

    Raises:
        JournalDamagedError: something of it is not there.
        GitOverBoundsError: as ``WarmRepo.absorb``.
    """
    with _telling_damage(wanted):
        trial = WarmRepo.empty(pack.with_name("trial.git"), _patient(repo.git))
        with pack.open("rb") as file:
            trial.git.index_pack(trial.path, file)
        return trial.path / "objects"


@contextmanager
def _telling_damage(wanted: str) -> Iterator[None]:
    try:
        yield
    except (GitTroubleError, GitOverBoundsError):
        raise
    except GitError as error:
        raise JournalDamagedError(f"what leads to {wanted} is not whole: {error}") from error


def _patient(git: Git) -> Git:
    """Return a git that may take as long as its processor time allows: packing a long history does."""
    return replace(git, timeout_s=max(git.timeout_s, git.caps.cpu_s_max))


def _origin(repo: WarmRepo, source: Agent, sha: str, request: ForkRequest) -> GitObject:
    """Return the blob that says what the fork was made from, and what that was made from."""
    before = origins_of(repo)
    if len(before) >= ORIGINS_MAX:
        raise InvalidRequestError.of(
            "agent_id",
            f"{source} goes back over {len(before)} forks, the most there may be: fork one of those before it",
        )
    return GitObject(
        Kind.BLOB, encode_origins([OriginLine(source, sha, float(int(request.enqueued_at))), *before])
    )


def _first_commit(request: ForkRequest, repo: WarmRepo, source: Agent, sha: str) -> GitObject:
    """Return the commit of a fork that begins without a history."""
    tree = repo.reader.commit(sha).tree
    message = f"Fork of {source.agent_id} at {sha}"
    return encode_commit(
        compose(repo.reader, tree, (), message, request.author, request.request_id, request.enqueued_at)
    )
