"""Agents that wait for a thread, in the order of their turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from heapq import nlargest

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

    def hold_back(self, unproven: Callable[[Agent], bool] | None, but: Container[Agent]) -> None:
        """Hold back those that are ready and turn out to be such agents, if there may be any."""
        if unproven is not None:
            held = {agent for agent in self._ready if agent not in but and unproven(agent)}
            self._unproven.extend(agent for agent in self._ready if agent in held)
            self._ready = deque(agent for agent in self._ready if agent not in held)

    def release_unproven(self, count: int, proof_of: Callable[[Agent], int] | None) -> None:
        """Let so many of these go: they are looked at one by one where they are held back again.

        Where proofs are in doubt, those go first whose store has answered later.
        """
        count = min(max(0, count), len(self._unproven))
        if proof_of is None or not count:
            going = [self._unproven.popleft() for _ in range(count)]
        else:
            going = nlargest(count, self._unproven, key=proof_of)
            gone = set(going)
            self._unproven = deque(agent for agent in self._unproven if agent not in gone)
        self._ready.extendleft(reversed(going))

    def hold_heavy(self, agent: Agent) -> None:
        """Hold back an agent whose turn is heavy."""
        self._heavy.append(agent)

    def release_heavy(self) -> None:
        """Let these go."""
        self._ready.extendleft(reversed(self._heavy))
        self._heavy.clear()
