"""Authors and messages in whatever encoding a commit names, against ``git log``."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrepo_worker.git.objects import decode_commit
from tests.support.histories import Scribe
from tests.support.stock_git import git

JAPANESE, RUSSIAN, GERMAN = "日本語の記憶", "Память агента", "für Jörg"


@pytest.mark.parametrize(
    ("named", "raw"),
    [
        ("ISO-8859-1", GERMAN.encode("latin-1")),
        ("latin1", GERMAN.encode("latin-1")),
        ("ISO-8859-15", "10 € für Jörg".encode("iso-8859-15")),
        ("windows-1252", "„für“ Jörg".encode("cp1252")),
        ("CP1251", RUSSIAN.encode("cp1251")),
        ("KOI8-R", RUSSIAN.encode("koi8-r")),
        ("EUC-JP", JAPANESE.encode("euc-jp")),
        ("SHIFT_JIS", JAPANESE.encode("shift-jis")),
        ("ISO-2022-JP", JAPANESE.encode("iso-2022-jp")),
        ("GB18030", "记忆".encode("gb18030")),
        ("UTF-8", GERMAN.encode()),
        ("UTF-8", GERMAN.encode("latin-1")),
        ("ISO-8859-1", GERMAN.encode()),
        ("ASCII", GERMAN.encode()),
        ("no-such-encoding", GERMAN.encode()),
        ("rot13", GERMAN.encode()),
        ("unicode_escape", rb"a\u0041"),
        (None, GERMAN.encode()),
        (None, GERMAN.encode("latin-1")),
        (None, b"two\n\nparagraphs\nencoding ISO-8859-1\n\n" + GERMAN.encode()),
    ],
)
def test_text_is_what_git_log_shows(named: str | None, raw: bytes, tmp_path: Path) -> None:
    scribe = Scribe()
    headers = [
        b"gpgsig -----BEGIN\n encoding KOI8-R\n -----END",
        *([b"encoding " + named.encode()] if named else []),
    ]
    sha = scribe.commit(
        {}, message=raw + b"\n", author=raw.split(b"\n")[0] + b" <a@example.org>", headers=headers
    )
    repo = scribe.write(tmp_path / "repo.git", {"refs/heads/main": sha})

    commit = decode_commit(scribe.objects[sha].data)

    shown = git(repo, "log", "-1", "--encoding=UTF-8", "--format=%an%x00%B", sha).decode(errors="replace")
    assert [commit.author.name, commit.message.rstrip()] == [part.rstrip() for part in shown.split("\0")]
