"""The settings of a command that looks after a system: the environment's, and the ``memrepo up``'s of this folder."""

from __future__ import annotations

from memrepo.cli.up_state import DATA_DIR_DEFAULT, UpState, completed
from memrepo.errors import InvalidRequestError
from memrepo.settings import environment
from memrepo_worker.settings import WorkerSettings


def settings_here() -> tuple[WorkerSettings, UpState | None]:
    """Return the settings, and the state of the running ``memrepo up`` that they come from, if they do."""
    env, found = completed(environment())
    return WorkerSettings.from_env(env), found


def require_store(settings: WorkerSettings) -> str:
    """Return the store's address.

    Raises:
        InvalidRequestError: none is set, and no ``memrepo up`` runs here.
    """
    if not settings.store_url:
        raise InvalidRequestError.of(
            "MEMREPO_STORE_URL",
            f"is not set, and no `memrepo up` runs on ./{DATA_DIR_DEFAULT}: name the store that the workers use, "
            "file:///folder, s3://bucket/prefix or gs://bucket/prefix",
        )
    return settings.store_url
