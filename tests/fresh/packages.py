"""The sdist and the wheel as they are published: the wheel is built from the sdist."""

from __future__ import annotations

import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import cast

from packaging.requirements import Requirement

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Packages:
    """What was built."""

    sdist: Path
    wheel: Path

    def names_in_sdist(self) -> set[str]:
        """Return the files of the sdist, below its one folder."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    def names_in_wheel(self) -> set[str]:
        """Return the files of the wheel."""
        return set(zipfile.ZipFile(self.wheel).namelist())

    @property
    def metadata(self) -> PathDistribution:
        """What the wheel says of itself."""
        (folder,) = {name.partition("/")[0] for name in self.names_in_wheel() if ".dist-info/" in name}
        return PathDistribution(cast("Path", zipfile.Path(self.wheel, f"{folder}/")))

    def requirements(self) -> list[Requirement]:
        """Return the direct dependencies of users: all extras, without the development tools."""
        requirements = [Requirement(line) for line in self.metadata.requires or []]
        return [each for each in requirements if each.marker is None or "dev" not in str(each.marker)]

    def lowest(self) -> list[str]:
        """Return constraints that allow of each direct dependency the lowest declared version alone."""
        return [f"{each.name}=={lower_bound(each)}" for each in self.requirements()]


def lower_bound(requirement: Requirement) -> str:
    """Return the version that a requirement allows at least."""
    (bound,) = [each.version for each in requirement.specifier if each.operator == ">="]
    return bound


def build(folder: Path) -> Packages:
    """Build both into ``folder``."""
    (sdist,) = _hatch(ROOT, "sdist", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    (wheel,) = _hatch(source, "wheel", folder)
    return Packages(sdist, wheel)


def _hatch(source: Path, target: str, folder: Path) -> list[Path]:
    hatchling = str(Path(sysconfig.get_path("scripts")) / "hatchling")
    arguments = [hatchling, "build", "--target", target, "--directory", str(folder)]
    Processes(Counters()).run(arguments, env=environment(), cwd=source, timeout_s=60)
    return list(folder.glob("*.tar.gz" if target == "sdist" else "*.whl"))
