"""Repositories that try to have a program run by whoever reads them: every way that stock git obeys.

Each trap is a repository whose configuration (or hooks, or attributes) names a program that leaves a mark, and the
git command that runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.histories import Scribe
from tests.support.plain_git import plain_git, plain_git_on_a_terminal

ATTRIBUTES = b"*.md filter=trap diff=trap merge=trap\n"
_OPENPGP = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----"
_SSH = b"gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n -----END SSH SIGNATURE-----"
_X509 = b"gpgsig -----BEGIN SIGNED MESSAGE-----\n MII=\n -----END SIGNED MESSAGE-----"

Do = Callable[["Armed"], None]


@dataclass(frozen=True)
class Armed:
    """A repository with its trap set: a work tree, the program, and the mark that it leaves."""

    folder: Path
    program: Path
    mark: Path

    @property
    def git_dir(self) -> Path:
        return self.folder / ".git"

    def configure(self, values: Mapping[str, str], file: str = "config") -> None:
        """Add to the configuration: ``section.name`` or ``section.any thing.name``; ``PROGRAM`` is the program."""
        lines = []
        for key, value in values.items():
            section, _, rest = key.partition(".")
            part, _, name = rest.rpartition(".")
            head = f'[{section} "{part}"]' if part else f"[{section}]"
            lines.append(f'{head}\n\t{name} = "{value.replace("PROGRAM", str(self.program))}"\n')
        with (self.git_dir / file).open("a") as config:
            config.write("".join(lines))

    def hook(self, name: str, hooks: Path) -> None:
        hooks.mkdir(exist_ok=True)
        (hooks / name).symlink_to(self.program)

    def touch(self) -> None:
        """Have git look at a file's content again: same bytes, another time."""
        (self.folder / "a.md").write_bytes(b"2\n")

    def git(self, *arguments: str, stdin: bytes = b"") -> None:
        plain_git(self.folder, *arguments, stdin=stdin, fine=False)

    @property
    def sprung(self) -> bool:
        """Whether the program ran, since this was asked last."""
        ran = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        return ran


@dataclass(frozen=True)
class Trap:
    """One way. ``lacks`` leaves a tree out of the repository, as a partial clone does."""

    name: str
    configuration: Mapping[str, str]
    springs: Do
    prepare: Do = field(default=lambda armed: None)
    lacks_a_tree: bool = False

    def arm(self, folder: Path) -> Armed:
        """Write the repository."""
        mark, program = folder / "mark", folder / "program"
        folder.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n: > '{mark}'\nexit 1\n")
        program.chmod(0o755)
        armed = Armed(folder / "work", program, mark)
        _write(armed.git_dir, lacks_a_tree=self.lacks_a_tree)
        if not self.lacks_a_tree:
            plain_git(armed.folder, "reset", "--quiet", "--hard")
        armed.configure(self.configuration)
        self.prepare(armed)
        return armed


def _write(git_dir: Path, *, lacks_a_tree: bool) -> None:
    scribe = Scribe()
    commits: list[str] = []
    for number, signature in enumerate((_X509, _SSH, _OPENPGP)):
        content = b"%d\n" % number
        files = {".gitattributes": ATTRIBUTES, "a.md": content, "folder/b.md": content}
        commits.append(scribe.commit(files, *commits[-1:], headers=[signature]))
    if lacks_a_tree:
        del scribe.objects[scribe.tree({"b.md": b"2\n"})]
    git_dir.parent.mkdir(exist_ok=True)
    scribe.write(git_dir, {"refs/heads/main": commits[-1]})
    (git_dir / "config").write_text("[core]\n\trepositoryformatversion = 1\n\tbare = false\n")


def _runs(*arguments: str, stdin: bytes = b"") -> Do:
    return lambda armed: armed.git(*arguments, stdin=stdin)


def _status(armed: Armed) -> None:
    armed.touch()
    armed.git("status")


def _on_a_terminal(*arguments: str) -> Do:
    return lambda armed: plain_git_on_a_terminal(armed.folder, *arguments)


def _promises(**values: str) -> Mapping[str, str]:
    """Return the configuration of a clone that fetches what it lacks from a remote like this."""
    remote = {f"remote.x.{name}": value for name, value in values.items()}
    return {"extensions.partialClone": "x", "remote.x.promisor": "true", **remote}


def _hooks(armed: Armed) -> None:
    armed.hook("post-index-change", armed.git_dir / "hooks")


def _hooks_elsewhere(armed: Armed) -> None:
    armed.hook("post-index-change", armed.git_dir / "elsewhere")
    armed.configure({"core.hooksPath": str(armed.git_dir / "elsewhere")})


def _in_the_work_trees_config(armed: Armed) -> None:
    armed.configure({"core.fsmonitor": "PROGRAM"}, "config.worktree")


def _in_an_included_file(armed: Armed) -> None:
    armed.configure({"core.fsmonitor": "PROGRAM"}, "more")


def _behind_a_git_file(armed: Armed) -> None:
    armed.git_dir.rename(armed.folder.parent / "elsewhere")
    armed.git_dir.write_text("gitdir: ../elsewhere\n")


def _with_an_alternate(armed: Armed) -> None:
    other = armed.folder.parent / "other.git"
    _write(other, lacks_a_tree=False)
    (armed.git_dir / "objects" / "info").mkdir()
    (armed.git_dir / "objects" / "info" / "alternates").write_text(f"{other}/objects\n")


def _fetch_from_itself(armed: Armed) -> None:
    armed.git("fetch", str(armed.folder.parent / "other.git"), "main")


_FSMONITOR = {"core.fsmonitor": "PROGRAM"}
_SIGNED = {"log.showSignature": "true"}
_DIFF = _runs("diff", "HEAD~1", "HEAD")
_LISTS = _runs("log", "--raw", "-r")

TRAPS = (
    Trap("file system monitor", _FSMONITOR, _status),
    Trap("monitor in an included file", {"include.path": "more"}, _status, _in_an_included_file),
    Trap(
        "monitor in a file included here",
        {"includeIf.gitdir:/**.path": "more"},
        _status,
        _in_an_included_file,
    ),
    Trap(
        "monitor in the work tree's file",
        {"extensions.worktreeConfig": "true"},
        _status,
        _in_the_work_trees_config,
    ),
    Trap("monitor behind a .git file", _FSMONITOR, _status, _behind_a_git_file),
    Trap("hook", {}, _status, _hooks),
    Trap("hook in another folder", {}, _status, _hooks_elsewhere),
    Trap("clean filter", {"filter.trap.clean": "PROGRAM"}, _status),
    Trap("filter process", {"filter.trap.process": "PROGRAM"}, _status),
    Trap("smudge filter", {"filter.trap.smudge": "PROGRAM"}, _runs("cat-file", "--filters", "HEAD:a.md")),
    Trap("text conversion", {"diff.trap.textconv": "PROGRAM"}, _runs("log", "-p")),
    Trap("diff driver", {"diff.trap.command": "PROGRAM"}, _DIFF),
    Trap("external diff", {"diff.external": "PROGRAM"}, _DIFF),
    Trap(
        "merge driver",
        {"merge.trap.driver": "PROGRAM"},
        _runs("revert", "--no-commit", "HEAD~1"),
    ),
    Trap("OpenPGP signature", {**_SIGNED, "gpg.program": "PROGRAM"}, _runs("log")),
    Trap(
        "SSH signature",
        {**_SIGNED, "gpg.ssh.program": "PROGRAM", "gpg.ssh.allowedSignersFile": "/dev/null"},
        _runs("log"),
    ),
    Trap("X.509 signature", {**_SIGNED, "gpg.x509.program": "PROGRAM"}, _runs("log")),
    Trap("pager", {"core.pager": "PROGRAM"}, _on_a_terminal("log")),
    Trap("pager of one command", {"pager.log": "PROGRAM"}, _on_a_terminal("log")),
    Trap("alias", {"alias.trap": "!PROGRAM"}, _runs("trap")),
    Trap("archiver", {"tar.trap.command": "PROGRAM"}, _runs("archive", "--format=trap", "HEAD")),
    Trap(
        "trailer",
        {"trailer.x.command": "PROGRAM"},
        _runs("interpret-trailers", "--trailer", "x=y", stdin=b"m\n"),
    ),
    Trap(
        "credential helper",
        {"credential.helper": "!PROGRAM"},
        _runs("credential", "fill", stdin=b"url=https://h\n"),
    ),
    Trap(
        "password prompt", {"core.askPass": "PROGRAM"}, _runs("credential", "fill", stdin=b"url=https://h\n")
    ),
    Trap(
        "alternates' refs", {"core.alternateRefsCommand": "PROGRAM"}, _fetch_from_itself, _with_an_alternate
    ),
    Trap("missing, upload-pack", _promises(url="/nowhere", uploadpack="PROGRAM"), _LISTS, lacks_a_tree=True),
    Trap(
        "missing, ext",
        {**_promises(url="ext::PROGRAM"), "protocol.allow": "always", "protocol.ext.allow": "always"},
        _LISTS,
        lacks_a_tree=True,
    ),
    Trap(
        "missing, ssh",
        {**_promises(url="ssh://h/x"), "core.sshCommand": "PROGRAM"},
        _LISTS,
        lacks_a_tree=True,
    ),
    Trap(
        "missing, git", {**_promises(url="git://h/x"), "core.gitProxy": "PROGRAM"}, _LISTS, lacks_a_tree=True
    ),
)
