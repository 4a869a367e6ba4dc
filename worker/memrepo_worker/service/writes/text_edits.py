"""What each edit of a request does to a commit's files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memrepo.errors import ContentMovedError, InvalidRequestError, PathNotFoundError, TooLargeError
from memrepo.limits import Limits
from memrepo.models import FileChange
from memrepo.validation.values import fault_of_path
from memrepo.wire.requests.edits import Append, Edit, Insert, Move, Replace
from memrepo_worker.git.compare import lines_of
from memrepo_worker.git.edits import FileEdit
from memrepo_worker.git.objects import printable
from memrepo_worker.service.writes.edits import refuse_folders
from memrepo_worker.service.writes.occurrences import count, replaced
from memrepo_worker.service.writes.working_tree import EditedFile, WorkingTree
from memrepo_worker.threads.giving_way import give_way


def apply_changes(
    changes: Sequence[FileChange | Edit], tree: WorkingTree, limits: Limits, field: str = "changes"
) -> list[FileEdit]:
    """Apply changes in order, and return what is at each path that they touched in the end.

    Raises:
        InvalidRequestError: what is there cannot be edited; ``TooLargeError`` if it would be over a limit afterwards.
        ContentMovedError: what an edit looks for is not there, so often.
        PathNotFoundError: an edit is of a file that is not there.
    """
    for index, change in enumerate(changes):
        give_way()
        where = f"{field}[{index}]"
        if isinstance(change, FileChange):
            _write(change, tree)
        else:
            _EDITS[type(change)](change, tree, limits, where)
    return list(tree.edits())


def _write(change: FileChange, tree: WorkingTree) -> None:
    if change.deletes:
        if tree.below(change.path):
            refuse_folders([change.path])
        tree.remove(change.path)
    else:
        tree.write(change.path, change.content or b"", executable=change.executable)


def _append(edit: Append, tree: WorkingTree, limits: Limits, where: str) -> None:
    file = tree.open_text(edit.path, where)
    if file is None:
        tree.write(edit.path, edit.text)
        return
    text = edit.text
    if edit.new_line and file.ends_within_line:
        text = b"\n" + text
    refuse_too_large(edit.path, file.size + len(text), limits, where)
    tree.spend(len(text), where)
    file.append(text)


def _replace(edit: Replace, tree: WorkingTree, limits: Limits, where: str) -> None:
    file = _existing(edit.path, tree, where)
    tree.spend(file.size, where)
    found = count(file.data, edit.old)
    if found != edit.count:
        raise ContentMovedError(
            f"{edit.path!r} has what is to be replaced {found} times, not {edit.count}: read it again",
            {"path": edit.path, "sha256": _sha256(file), "found": found, "expected": edit.count},
        )
    size = file.size + found * (len(edit.new) - len(edit.old))
    refuse_too_large(edit.path, size, limits, where)
    tree.spend(size, where)
    file.write(replaced(file.data, edit.old, edit.new))


def _insert(edit: Insert, tree: WorkingTree, limits: Limits, where: str) -> None:
    file = _existing(edit.path, tree, where)
    tree.spend(file.size, where)
    lines = lines_of(file.data)
    if edit.line > lines:
        raise ContentMovedError(
            f"{edit.path!r} has {lines} lines, so there is no line {edit.line}: read it again",
            {"path": edit.path, "sha256": _sha256(file), "lines": lines, "line": edit.line},
        )
    text = edit.text if edit.text.endswith(b"\n") else edit.text + b"\n"
    place = _end_of_line(file.data, edit.line)
    if edit.line and not file.data.endswith(b"\n", 0, place):
        # It is the last line, of a file that does not end in a break.
        text = b"\n" + text
    refuse_too_large(edit.path, file.size + len(text), limits, where)
    there = memoryview(file.data)
    file.write(b"".join((there[:place], text, there[place:])))


def _move(edit: Move, tree: WorkingTree, limits: Limits, where: str) -> None:
    there = tree.find(edit.path)
    moved = {edit.path: there} if there is not None else tree.below(edit.path)
    if not moved:
        raise PathNotFoundError(f"{edit.path!r} is not there, so it cannot be moved", {"path": edit.path})
    if edit.to == edit.path:
        return
    replaced = [edit.to] if tree.find(edit.to) is not None else list(tree.below(edit.to))
    if replaced and not edit.overwrite:
        raise InvalidRequestError.of(
            f"{where}.to", f"{edit.to!r} is there already: overwrite=True replaces it", path=edit.to
        )
    for path in (*replaced, *moved):
        tree.remove(path)
    for path, present in moved.items():
        target = edit.to + path.removeprefix(edit.path)
        fault = fault_of_path(target, limits)
        if fault is not None:
            raise InvalidRequestError.of(
                f"{where}.to", f"would make {printable(target)!r}, which {fault}", path=printable(target)
            )
        tree.put(target, present)


_EDITS: Mapping[type, Callable[[Any, WorkingTree, Limits, str], None]] = {
    Append: _append,
    Replace: _replace,
    Insert: _insert,
    Move: _move,
}
"""What applies each kind of edit."""


def _existing(path: str, tree: WorkingTree, where: str) -> EditedFile:
    file = tree.open_text(path, where)
    if file is None:
        raise PathNotFoundError(f"{path!r} is not there, so it cannot be edited", {"path": path})
    return file


def _sha256(file: EditedFile) -> str:
    return hashlib.sha256(file.data).hexdigest()


def refuse_too_large(path: str, size: int, limits: Limits, where: str) -> None:
    """Raise ``TooLargeError`` where a file would be larger afterwards than one may be."""
    if size > limits.file_bytes_max:
        raise TooLargeError.of(
            where,
            f"{path!r} would be {size} bytes long, over file_bytes_max ({limits.file_bytes_max})",
            path=path,
        )


_FEW_BYTES = 4096


def _end_of_line(data: bytes, line: int) -> int:
    """Return where line number ``line`` ends, in time that grows with the bytes and not with the lines."""
    begin, end, left = 0, len(data), line
    while end - begin > _FEW_BYTES:
        middle = (begin + end) // 2
        breaks = data.count(b"\n", begin, middle)
        if breaks >= left:
            end = middle
        else:
            begin, left = middle, left - breaks
    for _ in range(left):
        found = data.find(b"\n", begin)
        if found < 0:
            return len(data)
        begin = found + 1
    return begin
