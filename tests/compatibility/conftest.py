from __future__ import annotations

import pytest

from tests.compatibility.recording import VERSIONS, Recording, recording_of


@pytest.fixture(scope="session", params=VERSIONS)
def recording(request: pytest.FixtureRequest) -> Recording:
    return recording_of(request.param)
