"""A name is taken or refused by what lies beside it, whenever that came."""

from __future__ import annotations

import pytest

from memrepo.errors import InvalidRequestError, RepoNotFoundError, TooLargeError
from memrepo.limits import Limits
from memrepo.validation.values import check_path
from memrepo_worker.store.backends.local import LocalStore
from tests.support.writers import Writer, commit, create, files


@pytest.mark.parametrize("branch", ["main/x", "Main"])
def test_a_memory_does_not_begin_on_a_branch_that_git_cannot_keep_beside_main(
    branch: str, one: Writer, store: LocalStore
) -> None:
    with pytest.raises(InvalidRequestError):
        one.ask(commit("begin", branch=branch, create_repo_if_missing=True))

    with pytest.raises(RepoNotFoundError):
        one.ask(files())


def test_the_deepest_path_is_committed_and_one_deeper_is_refused(one: Writer) -> None:
    deepest = "/".join("d" * 1 for _ in range(Limits().path_depth_max))
    one.ask(create())

    assert one.ask(commit("deep", {deepest: "x"})).created
    with pytest.raises(TooLargeError, match="path_depth_max"):
        check_path(f"{deepest}/d", Limits(), "path")


def test_a_name_that_macos_takes_for_a_neighbours_is_refused_in_a_later_commit_too(one: Writer) -> None:
    one.ask(create(café="composed"))

    with pytest.raises(InvalidRequestError):
        one.ask(commit("decomposed", {"cafe\u0301": "x"}))
