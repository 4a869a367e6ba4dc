from __future__ import annotations

import pytest

from memrepo import InvalidRequestError
from memrepo.wire.versions import MESSAGE_VERSION, VERSION_HEADER, check_message_version


@pytest.mark.parametrize("headers", [{}, {VERSION_HEADER: 1}, {VERSION_HEADER: MESSAGE_VERSION}])
def test_a_message_that_says_no_version_or_one_that_is_known_is_read(headers: dict[str, object]) -> None:
    check_message_version(headers)


def test_a_newer_message_is_refused_with_what_to_upgrade() -> None:
    with pytest.raises(InvalidRequestError, match="upgrade the workers first"):
        check_message_version({VERSION_HEADER: MESSAGE_VERSION + 1})


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.5, None, []])
def test_what_is_no_version_is_named(version: object) -> None:
    with pytest.raises(InvalidRequestError, match=VERSION_HEADER):
        check_message_version({VERSION_HEADER: version})
