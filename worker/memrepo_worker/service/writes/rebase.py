"""A commit whose branch has moved on since its ``expected_head``: what of it goes onto the present head."""

from __future__ import annotations

import hashlib

from memrepo.errors import ContentMovedError, InvalidRequestError
from memrepo.wire.requests.writes import CommitRequest, paths_of
from memrepo_worker.git.edits import FileEdit, TreeConflictError, TreeEditor
from memrepo_worker.git.merging.bases import is_ancestor
from memrepo_worker.git.merging.contents import ContentMerger
from memrepo_worker.git.merging.trees import merge_trees
from memrepo_worker.git.objects import TreeEntry
from memrepo_worker.git.reader import ObjectMap
from memrepo_worker.git.walk import entry_at
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.merging import Sides, refuse_conflicts
from memrepo_worker.service.refs import branch_ref, is_commit, moved
from memrepo_worker.service.writes.edits import refuse_folders
from memrepo_worker.service.writes.text_edits import refuse_too_large

REBASED_FROM = "rebased_from"
"""In a ledger line's detail: the head that the caller had expected."""


def refuse_moved_head(request: CommitRequest, draft: Draft, parent: str | None) -> None:
    """Raise ``HeadMovedError`` where the branch is elsewhere, and not somewhere that the request may be brought to."""
    expected = request.expected_head
    if expected is None or expected == parent:
        return
    is_behind = (
        parent is not None
        and request.on_conflict != "fail"
        and is_commit(expected, draft.reader)
        and is_ancestor(draft.reader, expected, parent)
    )
    if not is_behind:
        raise moved(request.branch, parent, expected, is_there=branch_ref(request.branch) in draft.refs)


def refuse_touched(request: CommitRequest, draft: Draft, expected: str, head: str) -> None:
    """Refuse a commit where somebody has changed a path since that it changes, too.

    Raises:
        ContentMovedError: naming the first.
    """
    before, now = (draft.reader.commit(sha).tree for sha in (expected, head))
    for path in dict.fromkeys(path for change in request.changes for path in paths_of(change)):
        there = entry_at(draft.reader, now, path)
        if entry_at(draft.reader, before, path) != there:
            raise ContentMovedError(
                f"{path!r} was changed since {expected}: read it again",
                {"path": path, "sha256": _sha256(there, draft), "head": head},
            )


def refuse_clash(edits: list[FileEdit], draft: Draft, expected: str, head: str) -> None:
    """Refuse a commit whose files fit beside those that were there, and not beside what somebody has added since.

    That is a file where there is a folder now, or the other way round, or a name that some file systems take for one
    of theirs.

    Raises:
        ContentMovedError: naming the path.
        InvalidRequestError: they did not fit before, either.
    """
    clash = _clash(edits, draft, head)
    if clash is None:
        return
    before = _clash(edits, draft, expected)
    if before is not None:
        raise InvalidRequestError.of("changes", str(before), path=before.path)
    raise ContentMovedError(f"{clash}, since {expected}: read it again", {"path": clash.path, "head": head})


def _clash(edits: list[FileEdit], draft: Draft, commit: str) -> TreeConflictError | None:
    try:
        TreeEditor(draft.reader).apply(draft.reader.commit(commit).tree, edits)
    except TreeConflictError as conflict:
        return conflict
    return None


def _sha256(entry: TreeEntry | None, draft: Draft) -> str:
    if entry is None or not entry.is_file:
        return ""
    return hashlib.sha256(draft.reader.blob(entry.sha)).hexdigest()


def merged_edits(edits: list[FileEdit], draft: Draft, expected: str, head: str) -> list[FileEdit]:
    """Return what edits of one commit come to on a later one, merged file by file.

    Raises:
        MergeConflictError: both changed the same.
        InvalidRequestError: they do not fit the commit that they were made for; ``TooLargeError`` if with what others
            wrote into a file it would be over a limit.
    """
    before, now = (draft.reader.commit(sha).tree for sha in (expected, head))
    editor = TreeEditor(draft.reader)
    try:
        wanted = editor.apply(before, edits)
    except TreeConflictError as conflict:
        raise InvalidRequestError.of("changes", str(conflict), path=conflict.path) from conflict
    refuse_folders(editor.spared)
    reader = draft.reader.layered(ObjectMap(editor.objects))
    merged = merge_trees(reader, before, now, wanted, ContentMerger())
    refuse_conflicts(
        merged.conflicts, reader, Sides(head, expected), "Read them again, then decide", head=head
    )
    for edit in merged.edits.values():
        if edit.data is not None:
            refuse_too_large(edit.path, len(edit.data), draft.limits, "changes")
    return [_with_data(edit, editor) for edit in merged.edits.values()]


def _with_data(edit: FileEdit, editor: TreeEditor) -> FileEdit:
    """Return an edit with the content itself where no repository has it yet."""
    made = None if edit.entry is None else editor.objects.get(edit.entry.sha)
    if edit.entry is None or made is None:
        return edit
    return FileEdit(edit.path, made.data, edit.entry.executable)
