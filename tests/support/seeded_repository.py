"""A git repository with a history that nobody typed: the same for the same seed, written by ``git fast-import``.

Its first-parent history has everything that agents' memories and people's repositories have: adds, edits,
deletes, renames, changed modes, binary files, names that tools trip over, files that become folders, commits that
change nothing, and merges whose other side lives on its second parent. On wish it also has what memrepo leaves out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from memrepo_worker.git.command import Git

FILE, EXECUTABLE, SYMLINK, SUBMODULE = "100644", "100755", "120000", "160000"

ODD_NAMES = (
    "-n",
    "--help.md",
    ".gitattributes",
    ".gitignore",
    "$(touch oops).md",
    "`id`; exit.md",
    "a{b,c}[d]!.md",
    "dreams/\N{CRESCENT MOON}.md",
    "Gru\N{LATIN SMALL LETTER SHARP S} \N{GREEK SMALL LETTER OMEGA}.md",
    "it's 'quoted'.md",
    "nfc-\N{LATIN SMALL LETTER E WITH ACUTE}.md",
    "nfd-e\N{COMBINING ACUTE ACCENT}.md",
    "percent%20and&ampersand#hash=1.md",
    "two  spaces/ inner .x.md",
    "\N{CJK UNIFIED IDEOGRAPH-65E5}\N{CJK UNIFIED IDEOGRAPH-672C}/\N{CJK UNIFIED IDEOGRAPH-8A9E}.md",
    "very/" + "/".join(["deep"] * 40) + "/note.md",
    "long-" + "x" * 240 + ".md",
)
"""Names that git stores on every platform; each has broken some tool."""

LEFT_OUT = (
    (SYMLINK, "link-to-notes"),
    (SUBMODULE, "vendored"),
    (FILE, 'say "hello".md'),
    (FILE, "aux.md"),
    (FILE, "ends with a dot."),
    (FILE, "back\\slash.md"),
    (FILE, "bell\x07.md"),
    (FILE, ".gitmodules"),
)
"""What memrepo does not keep: not a regular file, or a name that some platform cannot store."""

_NULL_COMMIT = "1" * 40


@dataclass
class _Author:
    """Writes one history, keeping the present files of the main branch in mind."""

    random: Random
    left_out: bool
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    marks: int = 0
    clock_s: int = 1_700_000_000

    def history(self, commits: int) -> Iterator[bytes]:
        yield b"feature done\n"
        last: int | None = None
        for number in range(commits):
            merged = None
            if last is not None and number % 17 == 9:
                merged = yield from self._side_branch(last)
            changes = list(self._changes(number))
            last = yield from self._commit("refs/heads/main", changes, number, parent=last, merged=merged)
        yield b"done\n"

    def _side_branch(self, base: int) -> Generator[bytes, None, int]:
        """Write two commits that main's next commit merges; their files are never on main itself."""
        side = base
        for step in range(2):
            change = (FILE, f"side/{base}-{step}.md", b"only on the second parent\n")
            side = yield from self._commit("refs/heads/side", [change], step, parent=side)
        return side

    def _commit(
        self,
        branch: str,
        changes: Sequence[tuple[str, str, bytes | None]],
        number: int,
        *,
        parent: int | None,
        merged: int | None = None,
    ) -> Generator[bytes, None, int]:
        self.marks += 1
        self.clock_s += self.random.randrange(1, 5000)
        yield b"commit %s\nmark :%d\n" % (branch.encode(), self.marks)
        yield b"author %s %d +0130\n" % (self._name(), self.clock_s)
        yield b"committer Seed <seed@example.org> %d +0000\n" % self.clock_s
        yield _data(self._message(number))
        if parent is not None:
            yield b"from :%d\n" % parent
        if merged is not None:
            yield b"merge :%d\n" % merged
        for mode, path, content in changes:
            yield from _change(mode, path, content)
        yield b"\n"
        return self.marks

    def _name(self) -> bytes:
        names = (
            "Ada Lovelace <ada@example.org>",
            "Zo\xeb A|B <zoe@example.org>",
            "agent-7 <agent-7@agents.example>",
        )
        return self.random.choice(names).encode()

    def _message(self, number: int) -> bytes:
        kinds = ("Learn", "Forget, then learn", "Tidy up \N{BROOM}", "Note\n\nA body with\ntwo lines.")
        return f"{self.random.choice(kinds)} {number}\n".encode()

    def _changes(self, number: int) -> Iterator[tuple[str, str, bytes | None]]:
        """Yield one commit's changes, and make them to ``files``."""
        if number == 0:
            yield self._write("human.md", FILE, b"likes tea\n")
        if number % 23 == 11:
            return
        yield from self._odd(number)
        for _ in range(self.random.randrange(1, 5)):
            yield from self._some_change(number)
        if number % 19 == 7:
            yield from self._file_becomes_folder(number)
        if number % 29 == 13:
            yield from self._name_changes_case(number)
        if self.left_out and number % 5 == 2:
            mode, path = LEFT_OUT[number // 5 % len(LEFT_OUT)]
            yield mode, path, b"left out %d\n" % number

    def _odd(self, number: int) -> Iterator[tuple[str, str, bytes]]:
        if number % 3 == 1:
            name = ODD_NAMES[number // 3 % len(ODD_NAMES)]
            yield self._write(name, FILE, b"odd name, edit %d\r\n" % number)

    def _some_change(self, number: int) -> Iterator[tuple[str, str, bytes | None]]:
        plain = sorted(path for path in self.files if path.startswith(("notes/", "tools/", "pictures/")))
        kind = (
            self.random.choice(("add", "add", "edit", "edit", "delete", "rename", "mode")) if plain else "add"
        )
        path = self.random.choice(plain) if plain else ""
        if kind == "add":
            yield self._new_file(number)
        elif kind == "edit":
            mode, content = self.files[path]
            yield self._write(path, mode, content + b"edit %d\n" % number)
        elif kind == "mode":
            mode, content = self.files[path]
            yield self._write(path, FILE if mode == EXECUTABLE else EXECUTABLE, content)
        else:
            mode, content = self.files[path]
            yield self._delete(path)
            if kind == "rename":
                yield self._write(f"notes/moved-{number}-{self.random.randrange(1000)}.md", mode, content)

    def _new_file(self, number: int) -> tuple[str, str, bytes]:
        name = f"{number}-{self.random.randrange(1000)}"
        match self.random.randrange(4):
            case 0:
                return self._write(
                    f"pictures/{name}.bin", FILE, self.random.randbytes(self.random.randrange(2000))
                )
            case 1:
                return self._write(f"tools/{name}.sh", EXECUTABLE, b"#!/bin/sh\necho %d\n" % number)
            case 2:
                return self._write(f"notes/{name}.md", FILE, b"")
            case _:
                lines = b"".join(
                    b"line %d of %d\n" % (line, number) for line in range(self.random.randrange(80))
                )
                return self._write(f"notes/{name}.md", FILE, lines)

    def _file_becomes_folder(self, number: int) -> Iterator[tuple[str, str, bytes | None]]:
        if "turns" in self.files:
            yield self._delete("turns")
            yield self._write("turns/inside.md", FILE, b"a folder now, %d\n" % number)
        else:
            if "turns/inside.md" in self.files:
                yield self._delete("turns/inside.md")
            yield self._write("turns", FILE, b"a file now, %d\n" % number)

    def _name_changes_case(self, number: int) -> Iterator[tuple[str, str, bytes | None]]:
        before, after = ("Case.md", "CASE.md") if "Case.md" in self.files else ("CASE.md", "Case.md")
        if before in self.files:
            yield self._delete(before)
        yield self._write(after, FILE, b"the same name, but for case, %d\n" % number)

    def _write(self, path: str, mode: str, content: bytes) -> tuple[str, str, bytes]:
        self.files[path] = (mode, content)
        return mode, path, content

    def _delete(self, path: str) -> tuple[str, str, None]:
        mode, _ = self.files.pop(path)
        return mode, path, None


def _change(mode: str, path: str, content: bytes | None) -> Iterator[bytes]:
    quoted = b'"' + path.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    if content is None:
        yield b"D %s\n" % quoted
    elif mode == SUBMODULE:
        yield b"M %s %s %s\n" % (mode.encode(), _NULL_COMMIT.encode(), quoted)
    else:
        yield b"M %s inline %s\n" % (mode.encode(), quoted)
        yield _data(content)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def write_seeded_repository(
    folder: Path, git: Git, *, commits: int = 500, seed: int = 1, left_out: bool = False
) -> Path:
    """Write a bare repository whose ``main`` has that many first-parent commits, and return its folder."""
    stream = b"".join(_Author(Random(seed), left_out).history(commits))
    git.run(["init", "--quiet", "--bare", "--initial-branch=main", str(folder)])
    git.run(["fast-import", "--quiet", "--done"], repo=folder, stdin=stream)
    return folder
