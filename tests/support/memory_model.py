"""What the memories of an org must be: plain dictionaries, moved on by each request and held against its outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memrepo import (
    ContentMovedError,
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    MemoryRepoError,
    MergeConflictError,
    PathNotFoundError,
    RefNotFoundError,
    RepoExistsError,
    RepoNotFoundError,
)
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.edits import Append, Insert, Move, Replace

Files = Mapping[str, bytes]
MAIN = "refs/heads/main"


@dataclass(frozen=True)
class Commit:
    files: Files
    parents: tuple[str, ...]
    message: str


@dataclass
class Memory:
    """One that is there: its branches and tags, how each entry has moved them, and whose it was before."""

    refs: dict[str, str] = field(default_factory=dict)
    moves: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    origins: list[tuple[str, str]] = field(default_factory=list)
    _before: Mapping[str, str] = field(default_factory=dict)

    def end_entry(self) -> None:
        """Note what an entry has moved, from its first request to its last."""
        names = sorted({*self._before, *self.refs})
        moves = [(name, self._before.get(name), self.refs.get(name)) for name in names]
        self.moves += [move for move in moves if move[1] != move[2]]
        self._before = dict(self.refs)


class Model:
    """All memories by agent. ``take`` asserts that an outcome is right, and moves on by it.

    ``read`` gives the files of a commit: what lines of two sides come to has another judge, which is stock git.
    """

    def __init__(self, read: Callable[[str, str], Files]) -> None:
        self._read = read
        self.memories: dict[str, Memory] = {}
        self.commits: dict[str, Commit] = {}
        self.settled: dict[tuple[str, str], tuple[Request, Any]] = {}
        self.unsure: dict[tuple[str, str], tuple[Request, Any]] = {}

    def end_entry(self) -> None:
        """Note that what comes now is in another entry."""
        for memory in self.memories.values():
            memory.end_entry()

    def take(self, request: Request, outcome: Any) -> None:
        agent_id = request.memory[1]
        known = self.settled.get((agent_id, request.request_id))
        if request.MUTATES and known is not None:
            assert told(outcome) == told(known[1]), "seen again, it is answered as before"
            return
        expected: type[MemoryRepoError] | None = None
        try:
            getattr(self, f"_{request.OPERATION}")(request, outcome)
        except MemoryRepoError as error:
            expected = type(error)
        assert expected in (None, type(outcome)), (request, outcome)
        if request.MUTATES:  # what there was no memory for has a line where there was one before
            is_there = not isinstance(outcome, RepoNotFoundError)
            (self.settled if is_there else self.unsure)[agent_id, request.request_id] = (request, outcome)

    # What is there

    def memory(self, request: Request) -> Memory:
        found = self.memories.get(request.agent_id)
        if found is None:
            raise RepoNotFoundError("")
        return found

    def head(self, memory: Memory, branch: str) -> str:
        sha = memory.refs.get(f"refs/heads/{branch}")
        if sha is None:
            raise RefNotFoundError("")
        return sha

    def resolve(self, memory: Memory, ref: str) -> str:
        name, _, steps = ref.partition("~")
        found = memory.refs.get(MAIN) if name == "HEAD" else None
        for full in (name, f"refs/heads/{name}", f"refs/tags/{name}"):
            found = found or memory.refs.get(full)
        if found is None and len(name) == 40 and name in self.reachable(memory):
            found = name
        if found is None:
            raise RefNotFoundError("")
        for _ in range(int(steps or 0)):
            if not self.commits[found].parents:
                raise RefNotFoundError("")
            found = self.commits[found].parents[0]
        return found

    def ancestors(self, *shas: str) -> Iterator[str]:
        seen: set[str] = set()
        waiting = list(shas)
        while waiting:
            sha = waiting.pop()
            if sha not in seen:
                seen.add(sha)
                yield sha
                waiting += self.commits[sha].parents

    def reachable(self, memory: Memory) -> set[str]:
        return set(self.ancestors(*memory.refs.values()))

    def base(self, one: str, other: str) -> str:
        """Return the best commit that both come from; what is asked of the model has one."""
        both = set(self.ancestors(one)) & set(self.ancestors(other))
        (best,) = both.difference(self.ancestors(*(up for sha in both for up in self.commits[sha].parents)))
        return best

    def made(self, memory: Memory, ref: str, outcome: Any, files: Files, parents: Sequence[str]) -> None:
        """Hold a commit against what must come of it."""
        assert not isinstance(outcome, MemoryRepoError), outcome
        before = self.commits[parents[0]].files if parents else None
        if files == before and len(parents) == 1:
            assert outcome.sha == parents[0]
            assert getattr(outcome, "created", False) is False
        else:
            assert outcome.sha not in self.commits or self.commits[outcome.sha].files == files
            self.commits[outcome.sha] = Commit(files, tuple(parents), getattr(outcome, "message", ""))
        memory.refs[ref] = outcome.sha

    # What writes

    def _create_repo(self, request: Any, outcome: Any) -> None:
        if request.agent_id in self.memories:
            raise RepoExistsError("")
        memory = self.memories[request.agent_id] = Memory()
        files = {change.path: change.content for change in request.initial_files or ()}
        self.made(memory, MAIN, outcome, files or {".memrepo/config.json": b'{"version": 1}'}, ())

    def _commit(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        ref = f"refs/heads/{request.branch}"
        parent = memory.refs.get(ref) or self.resolve(memory, request.start_point)
        expected = request.expected_head
        if expected in (None, parent):
            self.made(memory, ref, outcome, changed(self.commits[parent].files, request.changes), [parent])
            return
        if request.on_conflict == "fail" or expected not in set(self.ancestors(parent)):
            raise HeadMovedError("")
        theirs, now = self.commits[expected].files, self.commits[parent].files
        if request.on_conflict == "rebase":
            if any(theirs.get(path) != now.get(path) for path in paths_of(request.changes)):
                raise ContentMovedError("")
            files = changed(now, request.changes)
        else:
            sides = (theirs, now, changed(theirs, request.changes))
            files = self.merged(request.agent_id, sides, outcome)
        self.made(memory, ref, outcome, files, [parent])

    def merged(self, agent_id: str, sides: Sequence[Files], outcome: Any) -> Files:
        """Merge by files: what theirs changed goes into ours. Where both changed one, its lines may fit or not."""
        base, ours, theirs = sides
        files = dict(ours)
        for path in {*base, *ours, *theirs}:
            one, other = ours.get(path), theirs.get(path)
            if one == other or other == base.get(path):
                continue
            if one != base.get(path):
                if one is None or other is None or isinstance(outcome, MergeConflictError):
                    raise MergeConflictError("")
                other = self._read(agent_id, outcome.sha)[path]
            put(files, path, other)
        return files

    def _merge(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        ref = f"refs/heads/{request.target}"
        ours = self.head(memory, request.target)
        if request.expected_head not in (None, ours):
            raise HeadMovedError("")
        theirs = self.resolve(memory, request.source)
        base = self.base(ours, theirs)
        if base == theirs:
            assert outcome.kind == "up_to_date", outcome
        elif base == ours and not request.squash and request.fast_forward != "never":
            assert (outcome.kind, outcome.sha) == ("fast_forward", theirs)
            memory.refs[ref] = theirs
        elif request.fast_forward == "only":
            raise HeadMovedError("")
        else:
            sides = [self.commits[sha].files for sha in (base, ours, theirs)]
            parents = [ours] if request.squash else [ours, theirs]
            self.made(memory, ref, outcome, self.merged(request.agent_id, sides, outcome), parents)
            assert outcome.sha == ours or outcome.parents == parents

    def _restore(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        head = self.head(memory, request.branch)
        if request.expected_head not in (None, head):
            raise HeadMovedError("")
        source = self.commits[self.resolve(memory, request.ref)].files
        files = dict(self.commits[head].files)
        every = {*files, *source}
        for wanted in request.paths or every:
            inside = [path for path in every if path == wanted or path.startswith(f"{wanted}/")]
            if not inside:
                raise PathNotFoundError("")
            for path in inside:
                put(files, path, source.get(path))
        self.made(memory, f"refs/heads/{request.branch}", outcome, files, [head])
        assert request.message is None or not outcome.created or outcome.message == request.message

    def _fork(self, request: Any, outcome: Any) -> None:
        if request.new_agent_id in self.memories:
            raise RepoExistsError("")
        source = self.memory(request)
        sha = self.resolve(source, request.ref)
        memory = Memory(origins=[(request.agent_id, sha), *source.origins])
        self.memories[request.new_agent_id] = memory
        if request.history:
            assert outcome.sha == sha
            memory.refs[MAIN] = sha
        else:
            self.made(memory, MAIN, outcome, self.commits[sha].files, ())

    def _create_branch(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        ref, sha = f"refs/heads/{request.name}", self.resolve(memory, request.start_point)
        if memory.refs.get(ref, sha) != sha:
            raise InvalidRequestError("")
        assert outcome.sha == sha
        memory.refs[ref] = sha

    def _delete_branch(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        if request.expected_head not in (None, self.head(memory, request.name)):
            raise HeadMovedError("")
        assert outcome is None
        del memory.refs[f"refs/heads/{request.name}"]

    def _create_tag(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        ref, sha = f"refs/tags/{request.name}", self.resolve(memory, request.ref)
        if request.expected_head not in (None, memory.refs.get(ref)):
            raise HeadMovedError("")
        if memory.refs.get(ref, sha) != sha and not request.overwrite:
            raise InvalidRequestError("")
        assert (outcome.name, outcome.sha) == (request.name, sha)
        memory.refs[ref] = sha

    def _delete_tag(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        if f"refs/tags/{request.name}" not in memory.refs:
            raise RefNotFoundError("")
        if request.expected_head not in (None, memory.refs[f"refs/tags/{request.name}"]):
            raise HeadMovedError("")
        assert outcome is None
        del memory.refs[f"refs/tags/{request.name}"]

    def _delete_repo(self, request: Any, outcome: Any) -> None:
        self.memory(request)
        assert outcome is None
        del self.memories[request.agent_id]
        self.settled = {
            key: (asked, Forgotten(done)) if key[0] == request.agent_id else (asked, done)
            for key, (asked, done) in self.settled.items()
        }

    # What reads

    def _get_files(self, request: Any, outcome: Any) -> None:
        sha = self.resolve(self.memory(request), request.ref)
        assert outcome.commit_sha == sha
        assert {path: file.data for path, file in outcome.items()} == self.commits[sha].files

    def _get_commit(self, request: Any, outcome: Any) -> None:
        sha = self.resolve(self.memory(request), request.ref)
        parent = next(iter(self.commits[sha].parents), None)
        assert (outcome.sha, outcome.parent_sha) == (sha, parent), request

    def _preview_merge(self, request: Any, outcome: Any) -> None:
        memory = self.memory(request)
        ours = self.head(memory, request.target)
        theirs = self.resolve(memory, request.source)
        base = self.base(ours, theirs)
        assert (outcome.target_sha, outcome.source_sha, outcome.base_sha) == (ours, theirs, base)
        kind = "up_to_date" if base == theirs else "fast_forward" if base == ours else "merge"
        assert outcome.kind == kind
        before, one, other = (self.commits[sha].files for sha in (base, ours, theirs))
        differ = {path for path in {*before, *other} if other.get(path) != before.get(path)}
        moved = {path for path in {*before, *one} if one.get(path) != before.get(path)}
        both = {path for path in differ & moved if one.get(path) != other.get(path)}
        conflicts = {conflict.path for conflict in outcome.conflicts}
        assert differ - moved <= set(outcome.files_changed) <= (differ - moved) | both
        assert {path for path in both if path not in one or path not in other} <= conflicts <= both

    def _search(self, request: Any, outcome: Any) -> None:
        files = self.commits[self.resolve(self.memory(request), request.ref)].files
        assert [(hit.path, hit.line) for hit in outcome] == [
            (path, number)
            for path, data in sorted(files.items())
            for number, line in enumerate(data.decode().splitlines(), start=1)
            if request.text in line
        ]

    def _list_branches(self, request: Any, outcome: Any) -> None:
        self.refs_below("refs/heads/", request, outcome)

    def _list_tags(self, request: Any, outcome: Any) -> None:
        self.refs_below("refs/tags/", request, outcome)

    def refs_below(self, prefix: str, request: Request, outcome: Any) -> None:
        refs = self.memory(request).refs
        assert [(prefix + one.name, one.sha) for one in outcome] == sorted(
            (ref, sha) for ref, sha in refs.items() if ref.startswith(prefix)
        )

    def _get_changes(self, request: Any, outcome: Any) -> None:
        memory = self.memories.get(request.agent_id)
        moves = [(one.ref, one.old, one.new) for one in outcome if one.ref != "HEAD"]
        assert moves == ([] if memory is None else memory.moves)
        assert [one.seq for one in outcome] == sorted(one.seq for one in outcome)

    def _get_origins(self, request: Any, outcome: Any) -> None:
        origins = self.memory(request).origins
        assert [(one.agent_id, one.sha) for one in outcome] == origins

    def _find_request(self, request: Any, outcome: Any) -> None:
        key = (request.agent_id, request.wanted)
        assert key in self.unsure or (outcome is not None) == (key in self.settled)

    def _list_memories(self, request: Any, outcome: Any) -> None:
        assert sorted(one.agent_id for one in outcome) == sorted(self.memories)


@dataclass(frozen=True)
class Forgotten:
    """What was told of a memory that was deleted since: its contents are gone, and the verdict is kept."""

    outcome: Any


def told(outcome: Any) -> object:
    """Return what must be the same when a request is seen again."""
    if isinstance(outcome, Forgotten):
        return told(outcome.outcome)
    if isinstance(outcome, MemoryRepoError):
        return type(outcome), outcome.message
    return getattr(outcome, "sha", outcome)


def put(files: dict[str, bytes], path: str, data: bytes | None) -> None:
    files.pop(path, None)
    if data is not None:
        files[path] = data


def paths_of(changes: Iterable[Any]) -> Iterator[str]:
    for change in changes:
        yield change.path
        if isinstance(change, Move):
            yield change.to


def changed(before: Files, changes: Iterable[Any]) -> Files:
    """Return the files after some changes, in order."""
    files = dict(before)
    for change in changes:
        data = files.get(change.path)
        if isinstance(change, FileChange):
            put(files, change.path, None if change.deletes else change.content)
        elif isinstance(change, Append):
            text, data = change.text, data or b""
            is_open = change.new_line and data and not data.endswith(b"\n")
            files[change.path] = data + (b"\n" if is_open else b"") + text
        elif data is None:
            raise PathNotFoundError("")
        elif isinstance(change, Replace):
            if data.count(change.old) != change.count:
                raise ContentMovedError("")
            files[change.path] = data.replace(change.old, change.new)
        elif isinstance(change, Insert):
            lines = data.splitlines(keepends=True)
            if change.line > len(lines):
                raise ContentMovedError("")
            lines.insert(change.line, change.text if change.text.endswith(b"\n") else change.text + b"\n")
            files[change.path] = b"".join(lines)
        else:
            move(files, change)
    return files


def move(files: dict[str, bytes], change: Move) -> None:
    if change.to == change.path:
        return
    if change.to in files and not change.overwrite:
        raise InvalidRequestError("")
    files[change.to] = files.pop(change.path)
