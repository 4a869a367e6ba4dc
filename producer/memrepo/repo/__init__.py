"""The calls of one agent's memory, for both clients: each checks its request, sends it and returns its job."""

from memrepo.repo.changes import Changes, Files
from memrepo.repo.following import Following
from memrepo.repo.reading import Reading
from memrepo.repo.writing import Writing

__all__ = ["Changes", "Files", "MemoryRepo"]


class MemoryRepo(Reading, Writing, Following):
    """One agent's memory.

    Every call raises ``InvalidRequestError`` at once for what no worker would accept. With ``MemoryRepos`` it
    returns when the broker holds the request, and raises ``BrokerUnavailableError`` within 5 s, or
    ``MemoryRepoBusyError``; with ``AsyncMemoryRepos`` it returns at once, and the job tells. Calls made by one
    client for one agent are applied in the order of the calls, and a read sees all commits before it.

    Every write takes a ``request_id``, which makes the caller's own retries safe: the same id with the same call is
    applied once, and answered alike, for 24 hours. A read needs none.
    """
