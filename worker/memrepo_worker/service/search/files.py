"""Searching the files of one commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memrepo.errors import TooLargeError
from memrepo.limits import Limits
from memrepo.models import Match
from memrepo.wire.requests.search import SearchRequest
from memrepo_worker.git.compare import is_binary
from memrepo_worker.git.objects import TreeEntry, printable
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import entry_at, files
from memrepo_worker.repos.draft import View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.refs import resolve
from memrepo_worker.service.search.patterns import Line, Pattern, lines_with, pattern_of


def search(request: SearchRequest, view: View, repo: WarmRepo, limits: Limits) -> list[Match]:
    """Return the first lines of text files that have in them what is looked for, by path and line.

    The last of as many as were asked for says that there may be more.

    Raises:
        TooLargeError: they do not fit into one reply, or it takes longer than a read may.
    """
    pattern = pattern_of(request.text, regex=request.regex, ignore_case=request.ignore_case)
    tree = repo.reader.commit(resolve(request.ref, view, repo.reader)).tree
    found: list[Match] = []
    total = 0
    for match in _matches(request, pattern, tree, repo.reader, limits):
        is_last = len(found) + 1 == request.limit
        found.append(match.model_copy(update={"limit_reached": True}) if is_last else match)
        total += sum(map(len, (match.path, match.text, *match.before, *match.after)))
        if total > limits.request_bytes_max:
            raise TooLargeError.of(
                "limit",
                f"what is found is larger than request_bytes_max ({limits.request_bytes_max} bytes): "
                "ask for less, with limit=, context= or paths=",
            )
        if is_last:
            break
    return found


def _matches(
    request: SearchRequest, pattern: Pattern, tree: str, reader: Reader, limits: Limits
) -> Iterator[Match]:
    for path, entry in _wanted(request.paths, tree, reader):
        size = reader.size(entry.sha)
        if size > limits.request_bytes_max:
            raise TooLargeError.of(
                "paths",
                f"{printable(path)!r} is larger than request_bytes_max ({limits.request_bytes_max} bytes): "
                "name the files and folders to be searched, with paths=",
            )
        data = reader.blob(entry.sha)
        if is_binary(data):
            continue
        for line in lines_with(pattern, data, lambda: reader.walked(0)):
            yield _match(printable(path), data, line, request.context)


def _wanted(paths: Iterable[str] | None, tree: str, reader: Reader) -> Iterator[tuple[str, TreeEntry]]:
    """Yield the files at and below these paths, each once, in git's order; of a path that is not there, nothing."""
    if paths is None:
        yield from files(reader, tree)
        return
    found = {path: entry for path in paths if (entry := entry_at(reader, tree, path)) is not None}
    above = ""
    for name, path in sorted((f"{path}/" if entry.is_tree else path, path) for path, entry in found.items()):
        if above and name.startswith(above):
            continue
        entry = found[path]
        if entry.is_tree:
            above = name
            yield from files(reader, entry.sha, name)
        elif entry.is_file:
            yield path, entry


def _match(path: str, data: bytes, line: Line, context: int) -> Match:
    return Match(
        path=path,
        line=line.number,
        text=_text(data[line.start : line.end]),
        before=_lines_before(data, line.start, context),
        after=_lines_after(data, line.end, context),
    )


def _lines_before(data: bytes, start: int, count: int) -> list[str]:
    lines: list[str] = []
    while start > 0 and len(lines) < count:
        begins = data.rfind(b"\n", 0, start - 1) + 1
        lines.append(_text(data[begins : start - 1]))
        start = begins
    return lines[::-1]


def _lines_after(data: bytes, end: int, count: int) -> list[str]:
    lines: list[str] = []
    while end + 1 < len(data) and len(lines) < count:
        start = end + 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        lines.append(_text(data[start:end]))
    return lines


def _text(line: bytes) -> str:
    return line.decode(errors="replace")
