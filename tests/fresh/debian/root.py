"""Debian roots: the least that debootstrap makes, as a machine of its own for processes, files and users.

Everything that is mounted for a root is mounted in a mount namespace of the command that needs it, and every process
of a command lives in its process namespace. So both end with the command, however that ends, and nothing of this
machine is ever mounted below a folder that is to be removed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import psutil

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes
from tests.fresh.debian.machine import debian_mirror, install_debootstrap, lend_to

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_PACKAGES = "python3,python3-venv,ca-certificates"
_ENTER = """
root=$1 user=$2; shift 2
mount -t proc proc "$root/proc" && mount -t tmpfs tmpfs "$root/dev/shm" || exit
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts" || exit  # terminals
chroot --userspec="$user" --groups= "$root" env -i "$@"
exit $?  # this shell stays: it is the namespace's first process, and reaps what others leave behind
"""
_ENTER_AS_FIRST = _ENTER.replace("chroot", "exec chroot")


@dataclass(frozen=True)
class Ran:
    """A command that is over and went well."""

    seconds: float
    output: str


@dataclass(frozen=True)
class Root:
    """The folder of a Debian, and the environment that this machine lends to all commands in it."""

    folder: Path
    lent: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def bootstrap(cls, suite: str, folder: Path) -> Root:
        """Make one with Python, and neither git nor make.

        Raises:
            AssertionError: debootstrap failed; the message ends with what it wrote.
        """
        install_debootstrap()
        options = ["--variant=minbase", f"--include={_PACKAGES}"]
        made = ["debootstrap", *options, suite, str(folder), debian_mirror()]
        _finish([*_NAMESPACES, *made], folder.with_suffix(".log"), timeout_s=600)
        root = cls(folder, lend_to(folder))
        root.run(["apt-get", "clean"])
        return root

    def copy(self, folder: Path) -> Root:
        """Return a copy that may be changed."""
        # Not shutil: there are devices in it.
        Processes(Counters()).run(
            ["cp", "--archive", "--reflink=auto", str(self.folder), str(folder)],
            env=environment(),
            timeout_s=300,
        )
        return replace(self, folder=folder)

    def remove(self) -> None:
        """Remove it.

        Raises:
            AssertionError: something is mounted below it, which nothing of ours does.
        """
        mounts = Path("/proc/self/mounts").read_text()
        assert f" {self.folder}/" not in mounts, f"something is mounted below {self.folder}"
        shutil.rmtree(self.folder)

    def run(
        self,
        command: Sequence[str],
        *,
        user: str = "0:0",
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 600.0,
    ) -> Ran:
        """Run a command to its end; of the environment it has ``PATH``, what is lent, and ``env``.

        Raises:
            AssertionError: it failed, or took too long and was ended with all that it started.
        """
        begun = time.monotonic()
        arguments = self._arguments(_ENTER, command, user, cwd, env or {})
        output = _finish(arguments, self.folder.with_suffix(".log"), timeout_s)
        return Ran(time.monotonic() - begun, output)

    def start(
        self, command: Sequence[str], *, user: str, cwd: str, env: Mapping[str, str], output: IO[bytes]
    ) -> Process:
        """Start a command as the first process of its namespace, as container engines do; killing ours ends it."""
        arguments = self._arguments(_ENTER_AS_FIRST, command, user, cwd, env)
        return Processes(Counters()).start(arguments, env=environment(), stdout=output, stderr=output)

    def _arguments(
        self, script: str, command: Sequence[str], user: str, cwd: str, env: Mapping[str, str]
    ) -> list[str]:
        whole = {"PATH": PATH, "LANG": "C.UTF-8", **self.lent, **env}
        settings = [f"{name}={value}" for name, value in whole.items()]
        enter = [*_NAMESPACES, "sh", "-c", script, "sh", str(self.folder), user]
        return [*enter, f"--chdir={cwd}", *settings, *command]


def end(process: Process) -> None:
    """End a process with all that it started.

    The first process of a namespace by itself: it has changed its user, and the kernel forgets then that it was to end
    with its parent.
    """
    started: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
    for child in started:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(started, timeout=10)
    process.kill()
    process.wait()


def _finish(arguments: Sequence[str], log: Path, timeout_s: float) -> str:
    with log.open("wb") as output:
        process = Processes(Counters()).start(arguments, env=environment(), stdout=output, stderr=output)
    try:
        code = process.wait(timeout_s)
    finally:
        end(process)
    text = log.read_text(errors="replace")
    assert code == 0, f"{' '.join(arguments[-3:])} exited with {code}:\n{text[-6000:]}"
    return text
