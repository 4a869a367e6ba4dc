"""Reading a Dockerfile, as far as ours goes: what it does not know, it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass

INSTRUCTIONS = ("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "ENTRYPOINT", "HEALTHCHECK", "CMD")


class DockerfileError(Exception):
    """There is something in the file that we do not know how to do; the message names it."""


@dataclass(frozen=True)
class Step:
    """One instruction and what follows it, continuation lines joined."""

    instruction: str
    text: str


def steps(text: str) -> list[Step]:
    """Return the steps of a Dockerfile in order.

    Raises:
        DockerfileError: an instruction is none of ``INSTRUCTIONS``.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction not in INSTRUCTIONS:
            raise DockerfileError(f"{instruction} is no instruction that is known here: {line.strip()}")
        found.append(Step(instruction, rest.strip()))
    return found


def allowed_by(dockerignore: str) -> list[str]:
    """Return the names that a .dockerignore lets into the context: it has to leave out all others, by ``*``.

    Raises:
        DockerfileError: it is of another form.
    """
    first, *others = [line for line in dockerignore.splitlines() if line and not line.startswith("#")]
    if first != "*" or not all(re.fullmatch(r"![\w.-]+", line) for line in others):
        raise DockerfileError(".dockerignore is not '*' and then '!name' for each name that is let in")
    return [line.removeprefix("!") for line in others]
