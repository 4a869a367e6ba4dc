from __future__ import annotations

import copy
import errno
import pickle

import pytest

from memrepo import JobTimeoutError, MemoryRepoError, RepoNotAdoptedError, RepoNotFoundError
from memrepo.errors import BY_NAME

OS_ERRORS = {
    RepoNotFoundError: errno.ENOENT,
    RepoNotAdoptedError: errno.ENOENT,
    JobTimeoutError: errno.ETIMEDOUT,
}


@pytest.mark.parametrize(("kind", "number"), OS_ERRORS.items())
def test_an_error_that_is_an_os_error_has_its_number_and_its_text(
    kind: type[MemoryRepoError], number: int
) -> None:
    error = kind("what went wrong", {"agent_id": "ann"})

    assert isinstance(error, OSError)
    assert (error.errno, error.strerror, error.filename) == (number, "what went wrong", None)


def test_these_are_all_that_are_os_errors() -> None:
    assert {kind for kind in BY_NAME.values() if issubclass(kind, OSError)} == set(OS_ERRORS)


@pytest.mark.parametrize("kind", BY_NAME.values())
def test_an_error_stays_what_it_is_when_it_is_copied_pickled_and_raised_again(
    kind: type[MemoryRepoError],
) -> None:
    error = kind("what went wrong", {"agent_id": "ann"})
    error.__cause__ = ConnectionRefusedError("by the server")

    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error)), error.again()):
        assert type(twin) is kind
        assert (str(twin), twin.details) == ("what went wrong", {"agent_id": "ann"})
    assert error.again().__cause__ is error.__cause__
