"""The service of files in a worker that gives an answer half a second to be whole, so that the tests take less."""

from __future__ import annotations

from typing import Any

from memrepo.redis import answers
from tests.support import file_service as files


def file_service(argument: Any) -> files.FileService:
    """Build it, as ``tests.support.file_service`` does."""
    answers.WHOLE_WITHIN_S = 0.5
    return files.file_service(argument)
