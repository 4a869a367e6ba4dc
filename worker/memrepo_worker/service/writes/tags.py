"""What changes of tags do to a draft. A tag stays where it is until somebody says otherwise."""

from __future__ import annotations

from memrepo.errors import HeadMovedError, InvalidRequestError, RefNotFoundError
from memrepo.wire.requests.tags import CreateTagRequest, DeleteTagRequest
from memrepo_worker.git.objects import NULL_SHA
from memrepo_worker.group import Agent
from memrepo_worker.journal.ledger import DONE
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.refs import commit_of, require_repo, resolve, tag_ref
from memrepo_worker.service.writes.revisions import refuse_new_ref
from memrepo_worker.service.writes.settled import Settled


def create_tag(request: CreateTagRequest, draft: Draft, agent: Agent) -> Settled:
    """Begin a tag at a commit, or move it there where that is wanted.

    Raises:
        InvalidRequestError: there is one of that name at another commit, or the name does not go beside the others.
        RefNotFoundError: there is no such commit.
        HeadMovedError: the tag that is to be moved is not where the caller expects it.
    """
    require_repo(draft.view, agent)
    name = tag_ref(request.name)
    sha = resolve(request.ref, draft.view, draft.reader)
    at = _place_of(name, draft)
    if request.expected_head not in (None, at):
        raise _moved(request.name, at, request.expected_head)
    if at is not None and not request.overwrite:
        if at != sha:
            raise InvalidRequestError.of(
                "name", f"there is a tag of that name already, at {at}: overwrite=True moves it"
            )
        return Settled(DONE, sha)
    refuse_new_ref(name, draft.refs, "name")
    draft.refs[name] = sha
    return Settled(DONE, sha)


def delete_tag(request: DeleteTagRequest, draft: Draft, agent: Agent) -> Settled:
    """Remove a tag.

    Raises:
        RefNotFoundError: there is none of that name.
        HeadMovedError: it is not where the caller expects it.
    """
    require_repo(draft.view, agent)
    name = tag_ref(request.name)
    at = _place_of(name, draft)
    if at is None:
        raise RefNotFoundError(f"there is no tag {request.name!r}", {"ref": request.name})
    if request.expected_head not in (None, at):
        raise _moved(request.name, at, request.expected_head)
    sha = draft.refs.pop(name)
    return Settled(DONE, commit_of(sha, draft.reader) or NULL_SHA)


def _place_of(name: str, draft: Draft) -> str | None:
    """Return the commit that a tag leads to, as it is told where tags are listed; None where there is no such tag."""
    sha = draft.refs.get(name)
    return None if sha is None else commit_of(sha, draft.reader) or sha


def _moved(tag: str, head: str | None, expected: str | None) -> HeadMovedError:
    """Return the error for a tag that is not where a caller expects it."""
    told = f"tag {tag!r} is at {head}, not at {expected}"
    if head is None:
        told = f"there is no tag {tag!r} that could be at {expected}"
    return HeadMovedError(told, {"tag": tag, "head": head})
