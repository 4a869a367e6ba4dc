"""``MEMREPO_PORTABLE_NAMES``, from a call to what is read back."""

from __future__ import annotations

import re

import pytest

from memrepo import InvalidRequestError, Limits
from memrepo_worker.testing import inline_repos

NAME = 'What is "it"?.md'


def test_a_name_that_only_windows_cannot_store_is_kept_where_windows_does_not_matter() -> None:
    with inline_repos(limits=Limits(portable_names="posix")) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        repo.commit({NAME: "tea"}, "learned", create_repo_if_missing=True)

        assert repo.get_file(NAME).result().text == "tea"
        assert list(repo.get_files(paths=[NAME]).result()) == [NAME]
        assert [commit.files_changed for commit in repo.get_history(path=NAME).result()] == [[NAME]]
        with pytest.raises(InvalidRequestError, match=re.escape(f"{NAME.lower()!r} is {NAME!r} on macOS")):
            repo.commit({NAME.lower(): "tea"}, "a twin").result()


def test_elsewhere_the_refusal_names_the_setting() -> None:
    with inline_repos() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")

        with pytest.raises(InvalidRequestError, match="MEMREPO_PORTABLE_NAMES=posix takes it"):
            repo.commit({NAME: "tea"}, "learned", create_repo_if_missing=True)
