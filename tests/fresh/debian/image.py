"""Carrying out a Dockerfile's steps where there is no container engine: each stage is a root of its own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from tests.fresh.debian.dockerfile import DockerfileError, allowed_by, steps
from tests.fresh.debian.root import PATH, Root

BaseImage = Callable[[str, Path], Root]
"""Makes a root that stands for a base image, in a folder."""


@dataclass
class Stage:
    """A stage as far as it is built; the last one is the image."""

    root: Root
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    cwd: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Return where a path of the stage is on this machine."""
        return self.root.folder / (Path(self.cwd) / path).relative_to("/")


class Build:
    """Carries out the steps, in order, on a context that .dockerignore has been applied to."""

    def __init__(self, context: Path, base_image: BaseImage, folder: Path) -> None:
        self._context, self._base_image, self._folder = context, base_image, folder
        self._stages: dict[str, Stage] = {}

    def image(self) -> Stage:
        """Carry out the context's Dockerfile and return its last stage.

        Raises:
            DockerfileError: the file asks for something that is not known here.
            AssertionError: one of its commands failed.
        """
        does: Mapping[str, Callable[[str], None]] = {
            "FROM": self._from, "COPY": self._copy, "RUN": self._run, "ENV": self._env, "USER": self._user,
            "WORKDIR": self._workdir, "VOLUME": self._volume, "CMD": self._cmd,
            "ENTRYPOINT": self._entrypoint, "HEALTHCHECK": self._healthcheck,
        }  # fmt: skip
        for step in steps((self._context / "Dockerfile").read_text()):
            does[step.instruction](step.text)
        return self._stage

    @property
    def _stage(self) -> Stage:
        return list(self._stages.values())[-1]

    def _from(self, text: str) -> None:
        image, _, name = re.fullmatch(r"(\S+)( AS (\w+))?", text).groups()  # type: ignore[union-attr]
        name = name or str(len(self._stages))
        self._stages[name] = Stage(self._base_image(image, self._folder / f"stage-{name}"))

    def _copy(self, text: str) -> None:
        *sources, target = text.split()
        origin = self._context
        if sources[0].startswith("--from="):
            origin = self._stages[sources.pop(0).removeprefix("--from=")].root.folder
        if any(source.startswith("--") for source in sources):
            raise DockerfileError(f"COPY with options that are not known here: {text}")
        place = self._stage.inside(target)
        for source in sources:
            _copy(origin / source.lstrip("/"), place, into=target.endswith("/"))

    def _run(self, text: str) -> None:
        self._in_stage(["sh", "-c", text])

    def _in_stage(self, command: Sequence[str]) -> None:
        stage = self._stage
        stage.root.run(command, user=stage.user, cwd=stage.cwd, env=stage.env)

    def _env(self, text: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", text):
            self._stage.env[name] = Template(value).substitute(self._stage.env)

    def _user(self, text: str) -> None:
        found = re.fullmatch(r"(\d+):(\d+)", text)
        if found is None:
            raise DockerfileError(f"USER is not UID:GID, which orchestrators can see not to be root: {text}")
        self._stage.user = text

    def _workdir(self, text: str) -> None:
        self._stage.cwd = text
        self._stage.inside(".").mkdir(parents=True, exist_ok=True)

    def _volume(self, text: str) -> None:
        self._stage.volumes.append(text)

    def _entrypoint(self, text: str) -> None:
        self._stage.entrypoint = json.loads(text)

    def _healthcheck(self, text: str) -> None:
        found = re.fullmatch(r"(?:--[a-z-]+=\d+s )*CMD (\[.*\])", text)
        if found is None:
            raise DockerfileError(f"HEALTHCHECK of a form that is not known here: {text}")
        self._stage.healthcheck = json.loads(found[1])

    def _cmd(self, text: str) -> None:
        self._stage.command = json.loads(text)


def _copy(source: Path, place: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
    else:
        target = place / source.name if into or place.is_dir() else place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def context_of(checkout: Path, folder: Path) -> Path:
    """Copy what .dockerignore lets in, and the Dockerfile itself; return the folder."""
    folder.mkdir()
    for name in ["Dockerfile", *allowed_by((checkout / ".dockerignore").read_text())]:
        _copy(checkout / name, folder / name, into=False)
    return folder
