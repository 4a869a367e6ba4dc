"""Hostile inputs: what must be refused on both sides of the queue, and which field the refusal must name.

Each case is a whole request as it would lie in a message; ``source`` says where the danger is known from. Paths that
start a list of sources: ``git`` is git's own documentation or code, ``facts`` a measurement of what git lets through,
``legacy server`` a fault of the service that ours follows, ``NTFS`` and ``HFS`` the naming rules of Windows and macOS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memrepo.limits import MIB
from memrepo.wire.operations import OPERATIONS
from memrepo.wire.requests.base import HEAD_FIELDS
from memrepo.wire.requests.paths import LIST_LIMIT_MAX
from memrepo.wire.requests.reads import HISTORY_LIMIT_MAX
from tests.support.samples import SAMPLES

SHA = "a" * 40
ID = "0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f"


@dataclass(frozen=True)
class Hostile:
    """One case: a harmless request of ``operation`` with some ``values`` put in."""

    operation: str
    values: Mapping[str, Any]
    field: str
    source: str

    @property
    def request(self) -> dict[str, Any]:
        """The request as a message carries it."""
        head = {"org_id": "acme", "agent_id": "agent-1", "request_id": ID, "enqueued_at": 1.7e9}
        return {**head, **SAMPLES[self.operation].body, **self.values}

    @property
    def name(self) -> str:
        """How a test report calls it."""
        return ascii(f"{self.operation} {self.values}"[:70])[:70]


def _change(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "content": "x", **more}


PATHS: Mapping[str, str] = {
    # path traversal and git's own directory
    "../x": "legacy server: writes outside the repository",
    "../../x": "legacy server: writes and deletes outside the repository",
    "a/../../x": "legacy server: as above, further down",
    "a/..": "facts: packs may hold it",
    "..": "facts: packs may hold it",
    ".": "git: verify_path",
    "./a": "git: verify_path",
    "a/./b": "git: verify_path",
    "": "git: an empty name",
    "//a": "git: an empty component after the one slash that is stripped",
    "a//b": "git: an empty component",
    "a/": "git: an empty component",
    "/": "git: an empty name after the stripped slash",
    ".git": "git: verify_path",
    ".git/config": "legacy server: core.fsmonitor in it runs a command",
    ".git/hooks/post-checkout": "CVE-2014-9390",
    ".git/refs/heads/main": "legacy server: deleting it wiped the history",
    "sub/.git/config": "git: verify_path, at any depth",
    ".GIT/config": "CVE-2014-9390: file systems that pass over case",
    ".Git/config": "CVE-2014-9390",
    ".giT": "CVE-2014-9390",
    # NTFS
    "git~1": "CVE-2014-9390: the short name of .git",
    "GIT~1/config": "CVE-2014-9390",
    "a/git~1/x": "CVE-2014-9390, at any depth",
    "git~2": "CVE-2019-1349: the short name may have another number",
    "git~17": "CVE-2019-1349",
    ".git ": "NTFS: trailing spaces are dropped",
    ".git.": "NTFS: trailing dots are dropped",
    ".git. . .": "NTFS: trailing dots and spaces are dropped",
    ".git /config": "NTFS: trailing spaces are dropped",
    ".git::$INDEX_ALLOCATION/config": "CVE-2019-1352: an alternate data stream names the folder",
    ".git:stream": "CVE-2019-1352",
    ".git\\config": "CVE-2019-1354: a backslash separates on Windows",
    "a\\..\\..\\x": "CVE-2019-1354",
    "a\\b": "CVE-2019-1354",
    "\\\\server\\share": "NTFS: a UNC path",
    "C:/Windows/x": "NTFS: a drive",
    "c:x": "NTFS: a drive-relative path",
    "a:b": "NTFS: an alternate data stream",
    "a*b": "NTFS: reserved character",
    "a?b": "NTFS: reserved character",
    'a"b': "NTFS: reserved character",
    "a<b": "NTFS: reserved character",
    "a>b": "NTFS: reserved character",
    "a|b": "NTFS: reserved character",
    "trailing.": "NTFS: trailing dots are dropped",
    "trailing ": "NTFS: trailing spaces are dropped",
    "folder./x": "NTFS: trailing dots are dropped",
    "...": "NTFS: a name of dots alone vanishes",
    "con": "NTFS: device name",
    "CON.md": "NTFS: device name with an extension",
    "prn": "NTFS: device name",
    "Aux.txt": "NTFS: device name",
    "nul": "NTFS: device name",
    "notes/nul.md": "NTFS: device name, at any depth",
    "com1": "NTFS: device name",
    "COM9.log": "NTFS: device name",
    "com\u00b9": "NTFS: device name with a superscript digit",
    "lpt1": "NTFS: device name",
    "lpt\u00b3.txt": "NTFS: device name with a superscript digit",
    "nul .txt": "NTFS: device name with a space before the extension",
    "conin$": "NTFS: device name",
    "CONOUT$": "NTFS: device name",
    # HFS+
    ".g\u200cit": "CVE-2014-9390: HFS+ ignores U+200C",
    ".gi\u200dt/config": "CVE-2014-9390: HFS+ ignores U+200D",
    "\u200e.git": "HFS: ignores U+200E",
    ".git\u200f": "HFS: ignores U+200F",
    ".\u202agit": "HFS: ignores U+202A",
    ".g\u202eit": "HFS: ignores U+202E",
    ".gi\u206at": "HFS: ignores U+206A",
    ".git\u206f": "HFS: ignores U+206F",
    "\ufeff.GIT/config": "HFS: ignores U+FEFF",
    ".g\u200ci\u200dt\ufeff": "HFS: ignores several",
    "\u200c": "HFS: ignores it, which leaves no name",
    "a/.\u200d./b": "HFS: ignores U+200D, which leaves ..",
    ".gitmodule\u017f": "HFS: the long s folds to s",
    "g\u0131t~1\u200c/../.git": "HFS: dotless i, with traversal behind",
    # submodules
    ".gitmodules": "CVE-2018-11235: names in it reach outside",
    "sub/.gitmodules": "CVE-2018-17456: a URL in it becomes an option",
    ".GITMODULES": "CVE-2018-11235, file systems that pass over case",
    "gitmod~1": "NTFS: the short name of .gitmodules",
    "GITMOD~4": "NTFS: the short name of .gitmodules",
    "gi7eba~1": "NTFS: the hashed short name of .gitmodules",
    ".gitmodules ": "NTFS: trailing spaces are dropped",
    ".git\u200cmodules": "HFS: ignores U+200C",
    # characters
    "a\0b": "facts: NUL silently cuts the name",
    "\0": "facts: NUL silently cuts the name",
    ".git\0/x": "facts: NUL silently cuts the name to .git",
    "a\nb": "legacy server: newlines vanish from listings",
    "a\rb": "CVE-2025-48384: a carriage return is lost on the way through a config file",
    "a\r": "CVE-2025-48384",
    "a\tb": "facts: control character",
    "a\x1b[2Jb": "terminals: an escape sequence in a listing",
    "a\x7fb": "facts: control character",
    "\ud800": "Unicode: a lone surrogate is no UTF-8",
    "a/\udfff.md": "Unicode: a lone surrogate is no UTF-8",
}
"""Paths that no call may take."""

BRANCHES: Mapping[str, str] = {
    "": "git: an empty name",
    "HEAD": "git: would shadow HEAD",
    "@": "git check-ref-format rule 9",
    "-x": "git check-ref-format --branch",
    "--upload-pack=touch x": "CVE-2017-1000117: becomes an option",
    "-": "git: the previous branch",
    "a..b": "git check-ref-format rule 3",
    "../main": "git check-ref-format rule 3; legacy server: refs reach outside",
    "a/../b": "git check-ref-format rule 3",
    ".a": "git check-ref-format rule 1",
    "a/.b": "git check-ref-format rule 1",
    "a.lock": "git check-ref-format rule 1",
    "a.lock/b": "git check-ref-format rule 1",
    "a b": "git check-ref-format rule 4",
    "a\x00b": "git check-ref-format rule 4",
    "a\nb": "git check-ref-format rule 4; a bundle's header is made of lines",
    "a\x7fb": "git check-ref-format rule 4",
    "a~1": "git check-ref-format rule 4",
    "a^": "git check-ref-format rule 4",
    "a:b": "git check-ref-format rule 4; a refspec",
    "a?": "git check-ref-format rule 5",
    "a*": "git check-ref-format rule 5; a refspec",
    "[a]": "git check-ref-format rule 5",
    "/a": "git check-ref-format rule 6",
    "a/": "git check-ref-format rule 6",
    "a//b": "git check-ref-format rule 6",
    "a.": "git check-ref-format rule 7",
    "a@{1}": "git check-ref-format rule 8",
    "@{-1}": "git check-ref-format rule 8",
    "a\\b": "git check-ref-format rule 10",
    "refs/heads/main": "git: would become refs/heads/refs/heads/main",
    "refs/memrepo/ledger": "memrepo: the ledger's own ref",
    SHA: "git: a branch that reads as a commit",
    "x" * 201: "file systems: with refs/heads/ and .lock over 255 bytes",
    "\ud800": "Unicode: a lone surrogate is no UTF-8",
}
"""Names that no branch may have."""

IDENTS: Mapping[str, str] = {
    "": "git: empty ident name not allowed",
    "a<b": "git: ends the name",
    "a>b": "git: ends the e-mail",
    "x> 1 +0000\nparent " + SHA: "facts: forges a header of the commit",
    "a\nb": "facts: forges a header of the commit",
    "a\rb": "facts: control character",
    "a\0b": "facts: NUL cuts the commit",
    "a\x1bb": "terminals: an escape sequence in a log",
    " a": "git: white space at the ends is lost",
    "a ": "git: white space at the ends is lost",
    "x" * 256: "memrepo: 255 bytes",
    "\ud800": "Unicode: a lone surrogate is no UTF-8",
}
"""Texts that neither name, e-mail nor id of an author may be."""

IDS: Mapping[str, str] = {
    "": "layout: an empty part of a key",
    ".": "layout: file systems resolve it",
    "..": "layout: reaches another prefix",
    "../other": "layout: reaches another prefix",
    "a/b": "layout: reaches another prefix",
    "/a": "layout: an absolute path in a folder store",
    "a\\b": "layout: Windows separates by it",
    "a b": "layout: URLs quote it",
    "a%2fb": "layout: unquoted on the way it reaches another prefix",
    "a\0b": "layout: NUL cuts the name",
    "a\nb": "layout: forges a line of a log",
    "a:b": "layout: a stream on NTFS",
    "a*": "layout: a pattern in Redis",
    "{a}": "layout: a hash tag in Redis Cluster",
    "-a": "options: reads as one",
    ".hidden": "layout: hidden in a folder store",
    "ä": "layout: composed in two ways",
    "x" * 129: "layout: 128 characters",
    "\ud800": "Unicode: a lone surrogate is no UTF-8",
}
"""Names that no org or agent may have."""

REQUEST_IDS = (
    "",
    "short",
    "x" * 65,
    "with space",
    "a/b/c/d/e",
    "line\nbreak",
    "trailing\n",
    "-abcdefg",
    "ä" * 8,
)
"""Ids that no request may have."""


def _paths() -> list[Hostile]:
    return [Hostile("commit", {"changes": [_change(path)]}, "changes[0].path", PATHS[path]) for path in PATHS]


def _paths_elsewhere() -> list[Hostile]:
    """Every way for a path to come in, each with some."""
    some = ["../x", ".git/config", "a\0b", "nul", ".g\u200cit"]
    deleting = [
        Hostile("commit", {"changes": [{"path": path}]}, "changes[0].path", "as a deletion") for path in some
    ]
    creating = [
        Hostile("create_repo", {"initial_files": [_change(path)]}, "initial_files[0].path", "as a first file")
        for path in some
    ]
    reading = [
        Hostile(operation, {field: value}, where, "as a path to read")
        for path in some
        for operation, field, value, where in (
            ("get_file", "path", path, "path"),
            ("get_files", "paths", ["ok", path], "paths[1]"),
            ("get_history", "path", path, "path"),
            ("diff", "paths", [path], "paths[0]"),
            ("search", "paths", ["ok", path], "paths[1]"),
            ("restore", "paths", ["ok", path], "paths[1]"),
            ("merge", "resolutions", [_change(path)], "resolutions[0].path"),
        )
    ]
    return deleting + creating + reading


def _path_sets() -> list[Hostile]:
    sets = [
        (["a", "a"], "git: one path twice in a tree is corrupt (fsck duplicateEntries)"),
        (["/a", "a"], "legacy server: the leading slash is stripped, then it is there twice"),
        (["A.md", "a.md"], "CVE-2021-21300: file systems that pass over case merge them"),
        (["A/x", "a"], "CVE-2024-32002: a folder and a file that are one"),
        (["a", "a/b"], "git: a file cannot be a folder"),
        (["a/b/c", "a/b"], "git: a file cannot be a folder"),
        (["a", "a/b/c/d"], "git: a file cannot be a folder, further down"),
        (["\u00e9", "e\u0301"], "HFS: composed in two ways, one file on macOS"),
        (["STRASSE", "stra\u00dfe"], "NTFS and APFS: full case folding"),
        (["a\u200cb", "ab"], "HFS: ignores U+200C"),
    ]
    return [
        Hostile("commit", {"changes": [_change(path) for path in paths]}, "changes", source)
        for paths, source in sets
    ]


def _edits() -> list[Hostile]:
    appended: Mapping[str, Any] = {"edit": "append", "path": "a", "text": "x"}
    replaced: Mapping[str, Any] = {"edit": "replace", "path": "a", "old": "x", "new": "y"}
    inserted: Mapping[str, Any] = {"edit": "insert", "path": "a", "line": 1, "text": "x"}
    moved: Mapping[str, Any] = {"edit": "move", "path": "a", "to": "b"}
    some = ("../x", ".git/config", "a\0b", "a\nb", "\ud800", "", "a/" * 129 + "b", "x" * 256)
    cases: list[tuple[Mapping[str, Any], str, str]] = [
        *[
            ({**edit, "path": path}, "path", "as a path to edit")
            for path in some
            for edit in (appended, replaced, inserted, moved)
        ],
        *[({**moved, "to": path}, "to", "as a path to move to") for path in some],
        ({**moved, "to": "a/b"}, "to", "git: a folder cannot be inside of itself"),
        ({**moved, "path": "a/b", "to": "a"}, "to", "git: a file cannot be the folder that it is in"),
        *[
            ({**edit, field: text}, field, source)
            for text, source in (
                ({"base64": "/w=="}, "only text can be edited"),
                ("a\0b", "git: NUL makes a file binary"),
                ("\ud800", "Unicode: a lone surrogate is no UTF-8"),
                ("x" * (8 * MIB + 1), "resources: a text that fits no file"),
                (None, "types: nothing to write"),
                (5, "types: a number is no text"),
            )
            for edit, field in ((appended, "text"), (replaced, "old"), (replaced, "new"), (inserted, "text"))
        ],
        ({**replaced, "old": ""}, "old", "it is everywhere"),
        *[
            ({**replaced, "count": count}, "count", "no number of times")
            for count in (0, -1, 2**31, 1.5, True)
        ],
        *[({**inserted, "line": line}, "line", "no number of a line") for line in (-1, 2**31, "1", None)],
        ({**appended, "edit": "prepend"}, "edit", "types: an edit that there is not"),
        ({**appended, "to": "b"}, "to", "types: a field of another edit"),
        ({**appended, "expected_sha256": "abc"}, "expected_sha256", "no sha256"),
        ({**appended, "new_line": 1}, "new_line", "types: a number is no bool"),
        ({"edit": "append", "path": "a"}, "text", "types: a part is missing"),
        ({**moved, "overwrite": "no"}, "overwrite", "types: a text is no bool"),
    ]
    return [
        Hostile("commit", {"changes": [_change("ok"), change]}, f"changes[1].{field}", source)
        for change, field, source in cases
    ]


def _refs() -> list[Hostile]:
    reading = [
        "-x",
        "a..b",
        "HEAD~x",
        "HEAD~-1",
        "~1",
        "-x~1",
        "main~1^",
        "main~1234567890",
        "main" + "~" * 17,
        "main@{yesterday}",
        "main@{2026-11-26}",
        "main@{2026-11-26T12:00:00}",
        "main@{2026-13-26T12:00:00Z}",
        "main@{2026-11-26T12:00:00Z",
        "@{2026-11-26T12:00:00Z}",
        "main~1@{2026-11-26T12:00:00Z}",
        "main@{2026-11-26T12:00:00Z}@{2026-11-26T12:00:00Z}",
        "main@{0001-01-01T00:00:00+14:00}",
        "refs/tags/v1@{2026-11-26T12:00:00Z}",
        SHA + "@{2026-11-26T12:00:00Z}",
        "main^{tree}",
        "main:a.md",
        "@{upstream}",
        "refs/memrepo/ledger",
        "refs/heads/-x",
    ]
    return [
        *[Hostile("commit", {"branch": name}, "branch", source) for name, source in BRANCHES.items()],
        *[Hostile("commit", {"start_point": name}, "start_point", "as a start point") for name in reading],
        *[
            Hostile("get_files", {"ref": name}, "ref", "legacy server: refs become options; git: not a ref")
            for name in reading
        ],
        *[
            Hostile(operation, {field: name}, field, "the same, where another call takes it")
            for name in ("-x", "HEAD", "", "a..b")
            for operation, field in (
                ("get_head_sha", "branch"),
                ("create_branch", "name"),
                ("delete_branch", "name"),
                ("create_tag", "name"),
                ("delete_tag", "name"),
                ("restore", "branch"),
                ("merge", "target"),
                ("preview_merge", "target"),
            )
        ],
        *[
            Hostile(operation, {field: name}, field, "legacy server: refs become options")
            for name in ("-x", "--output=x", "HEAD^", "HEAD~1/x", "")
            for operation, field in (
                ("diff", "base"),
                ("diff", "target"),
                ("restore", "ref"),
                ("merge", "source"),
                ("preview_merge", "source"),
                ("fork", "ref"),
                ("create_tag", "ref"),
                ("create_branch", "start_point"),
            )
        ],
        Hostile("delete_branch", {"name": "main"}, "name", "git: HEAD would name nothing"),
    ]


def _listings() -> list[Hostile]:
    """What asks for the memories of an org: the org, and the beginning of its agents' ids."""
    return [
        *[Hostile("list_memories", {"org_id": text}, "org_id", source) for text, source in IDS.items()],
        *[
            Hostile("list_memories", {"prefix": text}, "prefix", source)
            for text, source in IDS.items()
            if text
        ],
        *[
            Hostile("list_memories", {"agent_id": text}, "agent_id", "an org's requests are of no agent")
            for text in ("", "agent-1", "**", "../other", None)
        ],
        *[
            Hostile("list_memories", {"after": text}, "after", "layout: reaches another prefix")
            for text in ("", "../other", "a/b", "a\0b", "a\nb", "\ud800", "x" * 5_000)
        ],
        *[
            Hostile("list_memories", {"limit": n}, "limit", "resources: a page without end")
            for n in (0, -1, 501, True)
        ],
        Hostile("get_head_sha", {"agent_id": "*"}, "agent_id", "no agent stands for all of an org"),
        Hostile("delete_repo", {"agent_id": "*"}, "agent_id", "no agent stands for all of an org"),
    ]


def _merges() -> list[Hostile]:
    return [
        *[
            Hostile("merge", {field: "root"}, field, "memrepo: a way of merging that does not exist")
            for field in ("fast_forward", "favor")
        ],
        Hostile(
            "merge", {"squash": True, "fast_forward": "never"}, "fast_forward", "git: cannot be combined"
        ),
        Hostile(
            "commit", {"on_conflict": "root", "expected_head": SHA}, "on_conflict", "memrepo: no such way"
        ),
        Hostile("commit", {"on_conflict": "rebase"}, "on_conflict", "memrepo: from no head there is no way"),
        *[
            Hostile(operation, {"squash": 1}, "squash", "types: a number is no flag")
            for operation in ("merge", "preview_merge")
        ],
        Hostile("preview_merge", {"favor": "root"}, "favor", "memrepo: a way of merging that does not exist"),
        Hostile(
            "preview_merge",
            {"resolutions": [{**_change("a"), "expected_sha256": ""}]},
            "resolutions[0].expected_sha256",
            "memrepo: of a file as a commit finds it",
        ),
        Hostile(
            "preview_merge",
            {"resolutions": [_change("../a")]},
            "resolutions[0].path",
            "git: a path that leads outside",
        ),
        Hostile("merge", {"message": " "}, "message", "git: aborting commit due to empty commit message"),
        Hostile("merge", {"expected_head": "main"}, "expected_head", "git: no full sha"),
        Hostile("restore", {"expected_head": "main"}, "expected_head", "git: no full sha"),
        Hostile("restore", {"message": " "}, "message", "git: aborting commit due to empty commit message"),
        Hostile("create_tag", {"overwrite": 1}, "overwrite", "types: a number is no flag"),
        Hostile("create_tag", {"expected_head": SHA}, "expected_head", "memrepo: of a tag that stays"),
        Hostile("merge", {"author": {"name": "a<b", "email": "e"}}, "author.name", "git: idents"),
        Hostile(
            "merge",
            {"resolutions": [_change("a"), _change("a")]},
            "resolutions",
            "git: one path twice in a tree",
        ),
        Hostile(
            "merge",
            {"resolutions": [_change("a", expected_sha256="")]},
            "resolutions[0].expected_sha256",
            "memrepo: a conflict has no one content to expect",
        ),
        Hostile(
            "merge",
            {"resolutions": [{"edit": "append", "path": "a", "text": "x"}]},
            "resolutions[0].edit",
            "memrepo: a conflict has no one content to edit",
        ),
    ]


def _authors() -> list[Hostile]:
    kind = "memrepo: a kind that does not exist"
    return [
        *[
            Hostile("commit", {"author": {"name": "n", "email": "e", field: text}}, f"author.{field}", source)
            for text, source in IDENTS.items()
            for field in ("name", "email", "id")
        ],
        Hostile("commit", {"author": {"name": "n", "email": "e", "type": "root"}}, "author.type", kind),
        Hostile("commit", {"author": {"name": "n"}}, "author.email", "types: a part is missing"),
    ]


def _identities() -> list[Hostile]:
    short = "memrepo: 8 to 64 letters, digits, - or _"
    return [
        *[Hostile("get_head_sha", {"org_id": text}, "org_id", source) for text, source in IDS.items()],
        *[Hostile("get_head_sha", {"agent_id": text}, "agent_id", source) for text, source in IDS.items()],
        *[Hostile("fork", {"new_agent_id": text}, "new_agent_id", source) for text, source in IDS.items()],
        Hostile("fork", {"new_agent_id": "agent-1"}, "new_agent_id", "memrepo: nothing is a copy of itself"),
        *[
            Hostile("fork", {"history": value}, "history", "types: it is no flag")
            for value in (0, "no", None)
        ],
        Hostile("fork", {"author": {"name": "a<b", "email": "e"}}, "author.name", "git: idents"),
        *[
            Hostile(operation, {field: text}, "request_id", short)
            for text in REQUEST_IDS
            for operation, field in (("commit", "request_id"), ("find_request", "wanted"))
        ],
    ]


def _values() -> list[Hostile]:
    """Shas, counts, messages, preconditions."""
    shas = ["", "abc", "A" * 40, "g" * 40, SHA + "\n", "-" * 40, "HEAD", SHA + "0"]
    return [
        *[
            Hostile("commit", {"expected_head": sha}, "expected_head", "git: no full sha")
            for sha in (*shas, SHA[:12], "main", "HEAD~1")
        ],
        *[
            Hostile(operation, {"expected_head": sha, **more}, "expected_head", "git: no full sha")
            for sha in (*shas, SHA[:12], "main", "HEAD~1")
            for operation, more in (
                ("delete_branch", {}),
                ("delete_tag", {}),
                ("create_tag", {"overwrite": True}),
            )
        ],
        *[
            Hostile("get_history", {"after": ref}, "after", "git: not a ref")
            for ref in ("", "-x", SHA + "\n")
        ],
        *[
            Hostile(
                "commit",
                {"changes": [_change("a", expected_sha256=text)]},
                "changes[0].expected_sha256",
                "no sha256",
            )
            for text in ("abc", "A" * 64, "g" * 64, "a" * 64 + "\n", SHA)
        ],
        *[
            Hostile("list_files", {"limit": limit}, "limit", "resources: a page without end")
            for limit in (0, -1, LIST_LIMIT_MAX + 1, 2**63)
        ],
        *[
            Hostile("get_history", {"limit": limit}, "limit", "resources: a page without end")
            for limit in (0, -1, HISTORY_LIMIT_MAX + 1)
        ],
        *[
            Hostile("commit", {"message": text}, "message", source)
            for text, source in (
                ("", "git: aborting commit due to empty commit message"),
                (" \n\t", "git: aborting commit due to empty commit message"),
                ("a\0b", "git fsck: nulInCommit"),
                ("\ud800", "Unicode: a lone surrogate is no UTF-8"),
            )
        ],
        Hostile("list_files", {"prefix": "a\nb"}, "prefix", "facts: control character"),
        Hostile("list_files", {"after": "a\0b"}, "after", "facts: NUL silently cuts the name"),
        Hostile(
            "commit",
            {"changes": [{"path": "a", "content": "x", "change_type": "delete"}]},
            "changes[0].content",
            "one says delete, the other what to write: to choose would lose text",
        ),
        Hostile(
            "create_repo",
            {"initial_files": [{"path": "a"}]},
            "initial_files[0].content",
            "nothing to delete yet",
        ),
        *[
            Hostile(
                "commit",
                {"changes": [{"path": "a", "change_type": kind}]},
                "changes[0].content",
                "content is missing",
            )
            for kind in ("add", "modify")
        ],
        *[
            Hostile(
                operation,
                {field: [{"path": "a", "executable": executable}]},
                f"{field}[0].executable",
                "who would set a mode alone, must not delete the file",
            )
            for operation, field in (("commit", "changes"), ("merge", "resolutions"))
            for executable in (True, False)
        ],
    ]


def _searches() -> list[Hostile]:
    cases: list[tuple[str, object, str]] = [
        ("text", "", "it is everywhere"),
        ("text", "a\nb", "a line break is within no line"),
        ("text", "a\0b", "git: NUL makes a file binary"),
        ("text", "\ud800", "Unicode: a lone surrogate is no UTF-8"),
        ("text", "\u00e4" * 501, "resources: 1,000 bytes, not characters"),
        ("text", 7, "types: a number is no text"),
        ("ref", "-x", "options: reads as one"),
        *[("context", count, "resources: lines without end") for count in (-1, 21, 2**63, "1", True)],
        *[("limit", count, "resources: a page without end") for count in (0, -1, 1_001, 1.5)],
        ("regex", 1, "types: a number is no bool"),
        ("ignore_case", "yes", "types: a text is no bool"),
    ]
    changes = [
        *[
            Hostile("get_changes", {"after": seq}, "after", "no number of an entry")
            for seq in (-1, 2**63, "1", True)
        ],
        *[
            Hostile("get_changes", {"limit": n}, "limit", "resources: a page without end")
            for n in (0, -1, 1_001)
        ],
    ]
    return changes + [Hostile("search", {field: value}, field, source) for field, value, source in cases]


def _sizes() -> list[Hostile]:
    seven_mib = "x" * (7 * MIB)
    return [
        Hostile(
            "commit",
            {"changes": [_change("a" * 256)]},
            "changes[0].path",
            "file systems: 255 bytes to a name",
        ),
        Hostile(
            "commit",
            {"changes": [_change("ä" * 128)]},
            "changes[0].path",
            "file systems: bytes, not characters",
        ),
        Hostile(
            "commit",
            {"changes": [_change("/".join(["a"] * 2049))]},
            "changes[0].path",
            "PATH_MAX: 4,096 bytes",
        ),
        Hostile(
            "commit", {"changes": [_change("d/" * 600 * 4)]}, "changes[0].path", "facts: git takes 600 levels"
        ),
        Hostile("get_file", {"path": "/".join(["abc"] * 1025)}, "path", "PATH_MAX: 4,096 bytes"),
        Hostile("list_files", {"prefix": "a" * 4097}, "prefix", "PATH_MAX: 4,096 bytes"),
        Hostile("commit", {"message": "x" * 65_537}, "message", "limits: 64 KiB"),
        Hostile("commit", {"message": "ä" * 32_769}, "message", "limits: 64 KiB, bytes not characters"),
        Hostile(
            "commit", {"changes": [_change(f"{n}") for n in range(1001)]}, "changes", "limits: 1,000 changes"
        ),
        Hostile(
            "commit",
            {"changes": [_change("a", content="x" * (8 * MIB + 1))]},
            "changes[0].content",
            "limits: 8 MiB",
        ),
        Hostile(
            "commit",
            {"changes": [_change(f"{n}", content=seven_mib) for n in range(5)]},
            "changes",
            "limits: 32 MiB in all",
        ),
        Hostile(
            "create_repo",
            {"initial_files": [_change(f"{n}", content=seven_mib) for n in range(5)]},
            "initial_files",
            "limits: 32 MiB in all",
        ),
    ]


def _types() -> list[Hostile]:
    """Values of another type than the field's, as a forged message may hold them."""
    forged = "types: a forged message"
    return [
        Hostile("get_head_sha", {"org_id": 7}, "org_id", forged),
        Hostile("get_head_sha", {"org_id": None}, "org_id", forged),
        Hostile("get_head_sha", {"agent_id": ["a"]}, "agent_id", forged),
        Hostile("get_head_sha", {"request_id": {"a": 1}}, "request_id", forged),
        Hostile("get_head_sha", {"enqueued_at": "soon"}, "enqueued_at", forged),
        Hostile("get_head_sha", {"enqueued_at": None}, "enqueued_at", forged),
        Hostile("get_head_sha", {"enqueued_at": -1.0}, "enqueued_at", "git: a date before 1970"),
        Hostile("commit", {"enqueued_at": -0.0}, "enqueued_at", "a ledger's line has no signs"),
        Hostile("commit", {"enqueued_at": float("nan")}, "enqueued_at", "JSON: NaN passes Python's parser"),
        Hostile(
            "commit", {"enqueued_at": float("inf")}, "enqueued_at", "JSON: Infinity passes Python's parser"
        ),
        Hostile("commit", {"enqueued_at": 1e30}, "enqueued_at", "git: a date that it cannot print"),
        Hostile("get_head_sha", {"surprise": 1}, "surprise", "types: a field that nobody knows"),
        Hostile("get_head_sha", {"branch": None}, "branch", forged),
        Hostile("find_request", {"wanted": None}, "wanted", forged),
        Hostile("find_request", {"wanted": [ID]}, "wanted", forged),
        Hostile("commit", {"changes": None}, "changes", forged),
        Hostile("commit", {"changes": "a"}, "changes", forged),
        Hostile("commit", {"changes": {"a": "b"}}, "changes", forged),
        Hostile("commit", {"changes": ["a"]}, "changes[0]", forged),
        Hostile("commit", {"changes": [[]]}, "changes[0]", forged),
        Hostile("commit", {"changes": [{}]}, "changes[0].path", "types: a part is missing"),
        Hostile(
            "commit",
            {"changes": [_change("a", mode=40000)]},
            "changes[0].mode",
            "git: trees, links and submodules",
        ),
        Hostile("commit", {"changes": [_change("a", content=7)]}, "changes[0].content", forged),
        Hostile("commit", {"changes": [_change("a", content=["x"])]}, "changes[0].content", forged),
        Hostile("commit", {"changes": [_change("a", content={"utf8": 7})]}, "changes[0].content", forged),
        Hostile(
            "commit", {"changes": [_change("a", content={"base64": "*"})]}, "changes[0].content", "no base64"
        ),
        Hostile(
            "commit",
            {"changes": [_change("a", content={"base64": "YQ"})]},
            "changes[0].content",
            "no padding",
        ),
        Hostile(
            "commit",
            {"changes": [_change("a", content={"utf8": "a", "base64": "YQ=="})]},
            "changes[0].content",
            "types: two contents",
        ),
        Hostile(
            "commit",
            {"changes": [_change("a", content={"utf8": "\ud800"})]},
            "changes[0].content",
            "no UTF-8",
        ),
        Hostile("commit", {"changes": [_change("a", content="\udc80")]}, "changes[0].content", "no UTF-8"),
        Hostile(
            "commit", {"changes": [_change("a", change_type="rename")]}, "changes[0].change_type", forged
        ),
        Hostile("commit", {"changes": [_change("a", executable="perhaps")]}, "changes[0].executable", forged),
        Hostile("commit", {"message": None}, "message", forged),
        Hostile("commit", {"message": 7}, "message", forged),
        Hostile("commit", {"author": "Ann <a@b>"}, "author", forged),
        Hostile("commit", {"author": None}, "author", forged),
        Hostile("commit", {"create_repo_if_missing": "perhaps"}, "create_repo_if_missing", forged),
        Hostile("create_repo", {"initial_files": 7}, "initial_files", forged),
        Hostile("get_file", {"path": None}, "path", forged),
        Hostile("get_file", {"path": ["a"]}, "path", forged),
        Hostile(
            "get_files",
            {"paths": ["a"] * (LIST_LIMIT_MAX + 1)},
            "paths",
            "memory: a list of paths without an end",
        ),
        Hostile("get_files", {"paths": "a.md"}, "paths", "types: one text is not a list of paths"),
        Hostile("get_files", {"paths": [7]}, "paths[0]", forged),
        Hostile("get_files", {"ref": 7}, "ref", forged),
        Hostile("list_files", {"limit": "many"}, "limit", forged),
        Hostile("list_files", {"limit": 1.5}, "limit", forged),
        Hostile("get_history", {"limit": None}, "limit", forged),
    ]


def _of_every_operation() -> list[Hostile]:
    """For each field of each request a value of no field's type, and a field that there is not."""
    return [
        Hostile(name, {field: 7.5}, field, "types: a forged message")
        for name, operation in OPERATIONS.items()
        for field in (*sorted(operation.request.model_fields.keys() - HEAD_FIELDS), "no_such_field")
    ]


HOSTILE: tuple[Hostile, ...] = (
    *_of_every_operation(),
    *_paths(),
    *_paths_elsewhere(),
    *_path_sets(),
    *_edits(),
    *_searches(),
    *_refs(),
    *_merges(),
    *_listings(),
    *_authors(),
    *_identities(),
    *_values(),
    *_sizes(),
    *_types(),
)
"""All cases."""
