"""Reading a repository that is stored in the legacy layout: loose files of a ``.git`` folder under the agent's prefix.

Nothing of it is trusted: only refs and objects are taken, its configuration and hooks are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from memrepo.limits import MIB
from memrepo.validation.names import folded
from memrepo_worker.git.command import Git, GitError
from memrepo_worker.git.objects import printable
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.refs import RefNames
from memrepo_worker.migration.contents import RefusedNames
from memrepo_worker.store.interface import ListedObject, ObjectTooLargeError, Store
from memrepo_worker.store.streams import pieces

_OBJECT = re.compile(r"objects/(?:[0-9a-f]{2}/[0-9a-f]{38}|pack/pack-[0-9a-f]{40}\.(?:pack|idx))\Z")
_SHA = re.compile(r"[0-9a-f]{40}\Z")
_SYMBOLIC = "ref: "
_RULE_OF_REFS = "git's rule for branches and tags"
BRANCHES, TAGS = "refs/heads/", "refs/tags/"
HEAD_REF = "refs/heads/main"

_REF_FILE_BYTES_MAX = 16 * MIB
"""``packed-refs`` has a line for each branch and tag, the others one line."""
_REF_FILES_BYTES_MAX = 4 * _REF_FILE_BYTES_MAX
"""All of them are in memory at once."""


class LegacyLayoutError(Exception):
    """The repository cannot be taken over as it is; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class LegacyRefs:
    """What the legacy layout's files say of refs: the loose ones win in git, also where they are stale."""

    loose: Mapping[str, str]
    packed: Mapping[str, str]
    head: str

    @property
    def tips(self) -> set[str]:
        """Every commit that a ref is at, or was at when git packed it."""
        return {*self.loose.values(), *self.packed.values()}


def read_refs(store: Store, layout: Layout, executor: Executor) -> LegacyRefs:
    """Return the refs alone.

    Raises:
        LegacyLayoutError: a file of them is too large to be one.
    """
    return _refs(_ref_files(store, layout, store.list(layout.prefix), executor))


def _holds_refs(layout: Layout, key: str) -> bool:
    name = key.removeprefix(layout.prefix)
    return layout.is_foreign(key) and (name in ("HEAD", "packed-refs") or name.startswith("refs/"))


def _ref_files(
    store: Store, layout: Layout, listed: Iterable[ListedObject], executor: Executor
) -> dict[str, bytes]:
    """Return what the files of refs hold, by their names.

    Raises:
        LegacyLayoutError: they take more together than is read, then none was; or one is too large to be one.
    """
    found = [item for item in listed if _holds_refs(layout, item.key)]
    size = sum(item.size for item in found)
    if size > _REF_FILES_BYTES_MAX:
        raise LegacyLayoutError(f"its files of refs take {size} bytes, over {_REF_FILES_BYTES_MAX}")
    contents = executor.map(partial(_ref_file, store), [item.key for item in found])
    return {item.key.removeprefix(layout.prefix): data for item, data in zip(found, contents, strict=True)}


def _ref_file(store: Store, key: str) -> bytes:
    try:
        return store.get(key, _REF_FILE_BYTES_MAX).data
    except ObjectTooLargeError as error:
        raise LegacyLayoutError(f"it has a file of refs that is none: {error}") from error


def download(
    store: Store, layout: Layout, repo: Path, executor: Executor, bytes_max: int
) -> tuple[LegacyRefs, int]:
    """Copy the objects into an empty repository; return the refs, and how many bytes were read.

    Raises:
        LegacyLayoutError: its objects take more than ``bytes_max``, or a file of refs is too large to be one.
    """
    listed = [item for item in store.list(layout.prefix) if layout.is_foreign(item.key)]
    objects = [item for item in listed if _OBJECT.match(item.key.removeprefix(layout.prefix))]
    size = sum(item.size for item in objects)
    if size > bytes_max:
        raise LegacyLayoutError(
            f"its objects take {size} bytes, over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX ({bytes_max})"
        )

    def fetch(item: ListedObject) -> int:
        path = repo / item.key.removeprefix(layout.prefix)
        path.parent.mkdir(exist_ok=True)
        try:
            with path.open("wb") as file:
                return sum(map(file.write, pieces(store, item.key, item.size)))
        except ObjectTooLargeError as error:
            raise LegacyLayoutError(f"it changes while it is read: {error}") from error

    refs = _ref_files(store, layout, listed, executor)
    bytes_read = sum(map(len, refs.values())) + sum(executor.map(fetch, objects))
    return _refs(refs), bytes_read


def _refs(contents: Mapping[str, bytes]) -> LegacyRefs:
    texts = {name: data.decode(errors="replace").strip() for name, data in contents.items()}
    loose = {name: text for name, text in texts.items() if name.startswith("refs/") and _SHA.match(text)}
    packed = {}
    for line in texts.get("packed-refs", "").split("\n"):
        sha, _, name = line.partition(" ")
        if _SHA.match(sha) and name:
            packed[name] = sha
    return LegacyRefs(_kept(loose), _kept(packed), texts.get("HEAD", ""))


def _kept(refs: Mapping[str, str]) -> dict[str, str]:
    return {name: sha for name, sha in refs.items() if name.startswith((BRANCHES, TAGS))}


@dataclass(frozen=True, slots=True)
class SettledRefs:
    """The refs that a repository shall have, and how many commits each recovery brought back.

    ``refused`` are names that no request could have made or could ask for, each with the ref that leads there now.
    """

    refs: Mapping[str, str]
    recovered: Mapping[str, int]
    refused: tuple[RefusedNames, ...]


def settle_refs(git: Git, repo: Path, legacy: LegacyRefs) -> SettledRefs:
    """Decide which refs a repository shall have.

    The fault that is mended: ``git gc`` packed the refs, the stale loose ref stayed in the store, and from then on hid
    what was committed last. Where the packed ref is ahead of the loose one, the branch goes there. Whatever else was
    committed and is reachable from nowhere becomes a branch ``recovered/N`` of its own (or ``recovered-1/N`` where the
    user has branches of that name), and so does a ref whose name is refused, where no other is at the same place.

    Raises:
        LegacyLayoutError: there is no branch to begin with.
    """
    refs = {**legacy.packed, **legacy.loose}
    recovered: dict[str, int] = {}
    for name, sha in legacy.packed.items():
        stale = legacy.loose.get(name, sha)
        if stale != sha and _is_ancestor(git, repo, stale, sha):
            refs[name] = sha
            recovered[name] = _count(git, repo, [sha], [stale])
    if HEAD_REF not in refs:
        named = legacy.head.removeprefix(_SYMBOLIC)
        if named not in refs:
            raise LegacyLayoutError("it has no branch: nothing was ever committed, or the refs are lost")
        refs[HEAD_REF] = refs[named]
    folder = next(folder for folder in _folders() if not any(_collide(folder, name) for name in refs))
    refs, refused = _with_safe_names(refs, folder)
    reachable = list(refs.values())
    for number, tip in enumerate(_lost_tips(git, repo, reachable), start=len(refused) + 1):
        name = f"{BRANCHES}{folder}/{number}"
        refs[name] = tip
        recovered[name] = _count(git, repo, [tip], reachable)
        reachable.append(tip)
    return SettledRefs(refs, recovered, refused)


def _with_safe_names(refs: Mapping[str, str], folder: str) -> tuple[dict[str, str], tuple[RefusedNames, ...]]:
    """Return the refs with a name in ``folder`` for each that is refused, and what is told of those.

    Each keeps its kind, since only a tag may be at an annotated one. ``main`` comes first: whatever does not go beside
    it gives way.
    """
    kept: dict[str, str] = {}
    faults: dict[str, str] = {}
    beside = RefNames()
    for name in sorted(refs, key=lambda name: (name != HEAD_REF, name)):
        fault = beside.add(name)
        if fault is None:
            kept[name] = refs[name]
        else:
            faults[name] = fault
    refused = []
    for number, (name, fault) in enumerate(faults.items(), start=1):
        safe = next((other for other, sha in kept.items() if sha == refs[name]), None)
        if safe is None:
            safe = f"{TAGS if name.startswith(TAGS) else BRANCHES}{folder}/{number}"
            kept[safe] = refs[name]
        refused.append(RefusedNames(_RULE_OF_REFS, f"{fault}; {safe} leads there", 1, printable(name)))
    return kept, tuple(refused)


def _folders() -> Iterator[str]:
    yield "recovered"
    yield from (f"recovered-{number}" for number in count(1))


def _collide(folder: str, name: str) -> bool:
    """Whether a ref of the user's own is, or is in, the folder that the recovered ones would go to."""
    return any(f"{folded(name)}/".startswith(f"{kind}{folder}/") for kind in (BRANCHES, TAGS))


def _lost_tips(git: Git, repo: Path, reachable: list[str]) -> Iterator[str]:
    """Yield the commits that nothing leads to, oldest first, whose history is whole."""
    listed = git.run(
        ["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)", "--unordered"],
        repo=repo,
    )
    commits = {line.split()[1] for line in listed.decode().splitlines() if line.startswith("commit ")}
    known = set(_rev_list(git, repo, reachable, []))
    lost = commits - known
    parents: set[str] = set()
    dated = []
    for sha in sorted(lost):
        try:
            shown = git.run(["show", "--no-patch", "--format=%ct %P", sha], repo=repo).decode().split()
            git.run(["rev-list", "--objects", "--quiet", sha], repo=repo)
        except GitError:
            continue  # half of an upload that failed: it was never acknowledged
        dated.append((int(shown[0]), sha))
        parents.update(shown[1:])
    yield from (sha for _, sha in sorted(dated) if sha not in parents)


def _is_ancestor(git: Git, repo: Path, older: str, newer: str) -> bool:
    try:
        return older in _rev_list(git, repo, [newer], [])
    except GitError:
        return False


def _count(git: Git, repo: Path, tips: list[str], without: list[str]) -> int:
    return len(_rev_list(git, repo, tips, without))


def _rev_list(git: Git, repo: Path, tips: list[str], without: list[str]) -> list[str]:
    revisions = "".join(f"{sha}\n" for sha in tips) + "".join(f"^{sha}\n" for sha in without)
    return git.run(["rev-list", "--stdin"], repo=repo, stdin=revisions.encode()).decode().split()
