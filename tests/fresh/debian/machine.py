"""What a new root is given of this machine: its mirror, its way to the package index. Nothing of it is written down."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

CA_IN_ROOT = "/etc/ssl/certs/of-this-machine.crt"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_OF_THIS_DISK = ("/", "file:")  # how the values of such settings of pip begin as mean nothing in a root
_INSTALL_TIMEOUT_S = 300.0


def run(*arguments: str, timeout_s: float = 60.0) -> str:
    """Run a program of this machine and return what it printed."""
    return Processes(Counters()).run(arguments, env=environment(), timeout_s=timeout_s).decode()


def install_debootstrap() -> None:
    """Install what makes roots, where it is missing; and learn of this machine's mirror in any case."""
    run("apt-get", "update", "--quiet", timeout_s=_INSTALL_TIMEOUT_S)
    if shutil.which("debootstrap") is None:
        run(
            "apt-get",
            "install",
            "--yes",
            "--no-install-recommends",
            "debootstrap",
            timeout_s=_INSTALL_TIMEOUT_S,
        )


def debian_mirror() -> str:
    """Return where this machine gets Debian's own packages.

    Raises:
        LookupError: apt names no such place: this is no Debian.
    """
    wanted = ("Created-By: Packages", "Origin: Debian", "Component: main")
    for line in run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", *wanted).splitlines():
        codename, _, place = line.partition(" ")
        if "-" not in codename:  # not the updates and the security of a release: the release
            return place
    raise LookupError("apt names no mirror of Debian on this machine; `make fresh` needs a Debian")


def lend_to(root: Path) -> dict[str, str]:
    """Copy this machine's names and certificates into a root; return the environment that commands in it need."""
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    asked = run("apt-config", "dump", "Acquire::http", "Acquire::https", "Acquire::Check-Date")
    (root / "etc" / "apt" / "apt.conf.d" / "90of-this-machine").write_text(asked)
    env = {name: value for name, value in environment().items() if name.lower() in _PROXIES}
    settings = dict(
        line.split("=", 1) for line in run(sys.executable, "-m", "pip", "config", "list").splitlines()
    )
    for place, quoted in settings.items():
        name, value = place.rpartition(".")[2], quoted.strip("'")
        if name == "cert":
            (root / CA_IN_ROOT.lstrip("/")).write_bytes(Path(value).read_bytes())
            env["PIP_CERT"] = CA_IN_ROOT
        elif not value.startswith(_OF_THIS_DISK):
            env[f"PIP_{name.replace('-', '_').upper()}"] = value
    return env
