"""What changes of tags do to a draft. A tag stays where it is until somebody says otherwise."""

from __future__ import annotations

from memrepo.errors import InvalidRequestError, RefNotFoundError
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
    """
    require_repo(draft.view, agent)
    name = tag_ref(request.name)
    sha = resolve(request.ref, draft.view, draft.reader)
    there = draft.refs.get(name)
    if there is not None and not request.overwrite:
        at = commit_of(there, draft.reader)
        if at != sha:
            raise InvalidRequestError.of(
                "name", f"there is a tag of that name already, at {at or there}: overwrite=True moves it"
            )
        return Settled(DONE, sha)
    refuse_new_ref(name, draft.refs, "name")
    draft.refs[name] = sha
    return Settled(DONE, sha)


def delete_tag(request: DeleteTagRequest, draft: Draft, agent: Agent) -> Settled:
    """Remove a tag."""
    require_repo(draft.view, agent)
    sha = draft.refs.pop(tag_ref(request.name), None)
    if sha is None:
        raise RefNotFoundError(f"there is no tag {request.name!r}", {"ref": request.name})
    return Settled(DONE, commit_of(sha, draft.reader) or NULL_SHA)
