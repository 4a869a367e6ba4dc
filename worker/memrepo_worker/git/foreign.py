"""A repository that others wrote: where its objects are and what its HEAD names, read without obeying it.

Git itself is never run in it (see ``command``): its folders are found, and its refs read, as the files that they are.
A pointer that leads to somebody else's files (a ``.git`` file, an alternate, a link) is not followed, so that nobody
can have an operator read what only the operator may.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memrepo_worker.git.command import GitError, ObjectFolder

_SHA = re.compile(r"[0-9a-f]{40}\Z")
_SHA_256 = re.compile(r"[0-9a-f]{64}\Z")
_SYMBOLIC = "ref:"
_REF_NAME = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]+\Z")
_LINKS_MAX = 5
_ALTERNATES_MAX = 32
_POINTER_BYTES_MAX = 64 * 1024
_REFS_BYTES_MAX = 256 * 1024 * 1024
_FAN_OUT = re.compile(r"[0-9a-f]{2}\Z")


@dataclass(frozen=True)
class ForeignRepository:
    """What was found: the commit that ``HEAD`` names (None: no commit yet), and the objects.

    ``stored_bytes`` is what the objects take on disk; ``is_partial`` tells that some were left to be fetched later.
    """

    path: Path
    head: str | None
    objects: ObjectFolder
    stored_bytes: int
    is_partial: bool


def find_repository(path: Path) -> ForeignRepository:
    """Find the repository at a path: its folder, a work tree, or a folder inside one.

    Raises:
        GitError: there is none, or none that can be read; one line that says what is missing and what to do.
    """
    start = path.resolve()
    try:
        return _Finder(path, start, start.stat().st_uid).find()
    except OSError as error:
        raise GitError(f"{path} cannot be read: {error.strerror} ({error.filename})") from error


@dataclass(frozen=True)
class _Finder:
    """Looks at the files of one repository; all that it reads must belong to one owner."""

    named: Path
    start: Path
    owner: int

    def find(self) -> ForeignRepository:
        git_dir = self._git_dir()
        common = self._common(git_dir)
        objects = self._own(common / "objects")
        head = self._head(git_dir, common)
        stored_bytes, is_partial = 0, False
        for folder in self._object_folders(objects):
            for file in self._object_files(folder):
                stored_bytes += file.stat().st_size
                is_partial = is_partial or file.name.endswith(".promisor")
        shallow = self._shallow(common / "shallow")
        return ForeignRepository(
            self.named, head, ObjectFolder(objects, shallow, trusted=False), stored_bytes, is_partial
        )

    def _git_dir(self) -> Path:
        for folder in (self.start, *self.start.parents):
            dot_git = folder / ".git"
            if dot_git.is_file():
                return self._own(self._pointed_to(dot_git))
            for candidate in (dot_git, folder):
                if _is_git_dir(candidate):
                    return self._own(candidate)
        raise GitError(f"{self.named} is not a git repository, nor inside one")

    def _pointed_to(self, dot_git: Path) -> Path:
        """Follow the file that stands for a ``.git`` folder in a linked work tree or a submodule."""
        word, _, target = self._text(dot_git).partition(": ")
        git_dir = dot_git.parent / target.strip()
        if word != "gitdir" or not _is_git_dir(git_dir):
            raise GitError(
                f"{dot_git} should name a git repository, and names none: replay that repository itself"
            )
        return git_dir

    def _common(self, git_dir: Path) -> Path:
        """Return the folder of the repository that a linked work tree belongs to; often the same."""
        pointer = git_dir / "commondir"
        return self._own(git_dir / self._text(pointer).strip()) if pointer.is_file() else git_dir

    def _own(self, path: Path) -> Path:
        """Return a path that leads to what has the same owner as what was named."""
        if path.stat().st_uid != self.owner:
            raise GitError(
                f"{self.named} leads to {path}, which belongs to another user: name that repository itself"
            )
        return path

    def _own_if_link(self, path: Path) -> Path:
        """Check a link; what is no link is in its folder, whoever of a team wrote it."""
        return self._own(path) if path.is_symlink() else path

    def _text(self, path: Path, bytes_max: int = _POINTER_BYTES_MAX) -> str:
        # Not blocking: a named pipe would wait for ever.
        descriptor = os.open(self._own_if_link(path), os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - there is no Path of a descriptor
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > bytes_max:
                raise _not_gits(path)
            return file.read(bytes_max).decode(errors="surrogateescape")

    # What HEAD names

    def _head(self, git_dir: Path, common: Path) -> str | None:
        name = "HEAD"
        for _ in range(_LINKS_MAX):
            text = self._ref(name, git_dir, common)
            if text is None or _SHA.match(text):
                return text
            if _SHA_256.match(text):
                raise GitError(
                    f"{self.named} names its objects by SHA-256, and memrepo keeps SHA-1: convert it, for instance by "
                    "git fast-export --all into git fast-import in a repository made by git init"
                )
            name = text.removeprefix(_SYMBOLIC).strip()
            if name == "refs/heads/.invalid" and (common / "reftable").is_dir():
                raise GitError(
                    f"{self.named} keeps its refs as a reftable, which memrepo does not read: replay a copy made by "
                    "git clone --bare --ref-format=files"
                )
            if not text.startswith(_SYMBOLIC) or not _REF_NAME.match(name) or ".." in name:
                break
        raise GitError(f"HEAD of {self.named} is damaged: git fsck says more")

    def _ref(self, name: str, git_dir: Path, common: Path) -> str | None:
        """Return what one ref says, or None where there is none of that name."""
        home = git_dir if name == "HEAD" or name.startswith(("refs/bisect/", "refs/worktree/")) else common
        if (home / name).is_file():
            return self._text(home / name).strip()
        packed = common / "packed-refs"
        if name != "HEAD" and packed.is_file():
            for line in self._text(packed, _REFS_BYTES_MAX).split("\n"):
                sha, _, other = line.rstrip().partition(" ")
                if other == name:
                    return sha
        return None

    # Where the objects are

    def _object_folders(self, first: Path) -> list[Path]:
        """Return the object folder, and those that it borrows from by alternates (git follows them by itself)."""
        found, looked_at = [first], 0
        while looked_at < len(found):
            pointer = found[looked_at] / "info" / "alternates"
            looked_at += 1
            if not os.path.lexists(pointer):
                continue
            for line in self._text(pointer).split("\n"):
                borrowed = pointer.parents[1] / line
                if line and not line.startswith("#") and borrowed.is_dir() and borrowed not in found:
                    found.append(self._own(borrowed))
                if line.startswith('"') or len(found) > _ALTERNATES_MAX:  # git would unquote it, and follow
                    raise GitError(f"{pointer} is not understood: run git repack -a -d there, and remove it")
        return found

    def _object_files(self, objects: Path) -> Iterator[os.DirEntry[str]]:
        """Yield the files of an object folder; git would wait for ever on a named pipe among them."""
        with os.scandir(objects) as entries:
            names = [entry.name for entry in entries if entry.name == "pack" or _FAN_OUT.match(entry.name)]
        for name in names:
            with os.scandir(self._own_if_link(objects / name)) as entries:
                for entry in entries:
                    if not entry.is_file():
                        raise _not_gits(entry.path)
                    if entry.is_symlink():
                        self._own(Path(entry.path))
                    yield entry

    def _shallow(self, path: Path) -> Path | None:
        """Return the file that names the commits whose parents a shallow clone lacks."""
        if not path.is_file():
            return None
        if not all(_SHA.match(line) for line in self._text(path, _REFS_BYTES_MAX).split()):
            raise GitError(f"{path} is damaged: git fsck says more")
        return path


def _is_git_dir(path: Path) -> bool:
    if not os.path.lexists(path / "HEAD"):
        return False
    return (path / "commondir").is_file() or ((path / "objects").is_dir() and (path / "refs").is_dir())


def _not_gits(path: Path | str) -> GitError:
    return GitError(f"{path} is not a file that git would have written")
