"""Agents that wait for a thread, in the order of their turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from memrepo_worker.group import Agent


class Line:
    """Each agent once. What is held back comes before the others once it is let go. Not thread-safe."""

    def __init__(self) -> None:
        self._ready: deque[Agent] = deque()
        self._unproven: deque[Agent] = deque()
        self._heavy: deque[Agent] = deque()

    def __len__(self) -> int:
        """Return how many are not held back."""
        return len(self._ready)

    @property
    def holds_heavy(self) -> bool:
        """Whether an agent waits until there is room for a heavy turn."""
        return bool(self._heavy)

    @property
    def holds_unproven(self) -> bool:
        """Whether an agent waits of whose store nothing is known."""
        return bool(self._unproven)

    def append(self, agent: Agent) -> None:
        """Have an agent come last."""
        self._ready.append(agent)

    def pop(self) -> Agent:
        """Take out the agent that comes first of those that are not held back."""
        return self._ready.popleft()

    def remove(self, agent: Agent) -> None:
        """Take out an agent, wherever it waits."""
        self.keep(lambda other: other != agent)

    def keep(self, stays: Callable[[Agent], bool]) -> None:
        """Take out all but those that stay."""
        self._ready, self._unproven, self._heavy = (
            deque(filter(stays, agents)) for agents in (self._ready, self._unproven, self._heavy)
        )

    def hold_unproven(self, agent: Agent) -> None:
        """Hold back an agent of whose store nothing is known."""
        self._unproven.append(agent)

    def release_unproven(self, count: int) -> None:
        """Let so many of these go: they are looked at one by one where they are held back again."""
        going = [self._unproven.popleft() for _ in range(min(count, len(self._unproven)))]
        self._ready.extendleft(reversed(going))

    def hold_heavy(self, agent: Agent) -> None:
        """Hold back an agent whose turn is heavy."""
        self._heavy.append(agent)

    def release_heavy(self) -> None:
        """Let these go."""
        self._ready.extendleft(reversed(self._heavy))
        self._heavy.clear()
