"""Child processes: started with a log each, watched, and ended in the order that loses nothing."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memrepo_worker.local.guard import CHILDREN, is_a
from memrepo_worker.processes import Process, Processes

PYTHON = (sys.executable, "-P")
"""Our Python, without the current folder on its path: a user's ``celery.py`` there must not be ours."""


@dataclass(frozen=True)
class Child:
    """A running part of the system."""

    name: str
    process: Process
    log: Path

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    @property
    def end(self) -> str:
        """How it ended by itself, and what its log says of that; one that was killed had no time to say anything."""
        code = self.process.poll()
        if code is not None and code < 0:
            return f"the {self.name} was killed by {signal.Signals(-code).name}. Its log is {self.log}"
        return f"the {self.name} ended by itself. {self.log} ends with:\n{self.last_words()}"

    def last_words(self, lines: int = 5) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass
class Children:
    """The children of this process; ``folder`` keeps their logs and, for the guard, their process ids."""

    processes: Processes
    folder: Path
    running: list[Child] = field(default_factory=list)

    def start(
        self, name: str, arguments: Sequence[str], env: Mapping[str, str], *, lifeline: bool = False
    ) -> Child:
        """Start a child in ``folder``; its output goes to ``folder/name.log``, the last one's to ``name.log.1``.

        ``lifeline``: see ``Processes.start``.
        """
        log = self.folder / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            process = self.processes.start(
                arguments, env=env, stdout=output, stderr=output, cwd=self.folder, lifeline=lifeline
            )
        with (self.folder / CHILDREN).open("a") as note:
            note.write(f"{name} {process.pid}\n")
        child = Child(name, process, log)
        self.running.append(child)
        return child

    def forget_earlier(self) -> None:
        """Empty the guard's note."""
        (self.folder / CHILDREN).write_text("")

    def forget(self, child: Child) -> None:
        """Watch a child no more that has ended."""
        self.running.remove(child)

    def first_dead(self) -> Child | None:
        """Return a child that ended by itself, if any."""
        return next((child for child in self.running if child.dead), None)

    def stop(self, kinds: Sequence[str], grace_s: float, hurried: Callable[[], bool]) -> None:
        """End the children of some kinds together: ask, wait for up to ``grace_s`` unless hurried, then kill."""
        leaving = [child for child in self.running if any(is_a(kind, child.name) for kind in kinds)]
        for child in leaving:
            child.process.terminate()
        deadline = time.monotonic() + grace_s
        while any(not child.dead for child in leaving) and time.monotonic() < deadline and not hurried():
            time.sleep(0.02)
        for child in leaving:
            if not child.dead:
                child.process.kill()
            child.process.wait()
            self.running.remove(child)
