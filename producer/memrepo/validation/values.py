"""What memrepo lets through: the rules for single values, used by producer and worker alike.

Git itself checks little when objects are written directly, so the rules stand here. A path must be one that
git agrees to check out on Linux, macOS and Windows (``verify_path`` in git's ``read-cache.c`` with
``core.protectNTFS`` and ``core.protectHFS``, and, unless ``portable_names`` is ``posix``, Git for Windows'
``is_valid_win32_path``). A ref follows
``git check-ref-format --branch``. Every function raises ``InvalidRequestError`` naming the field.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.limits import Limits
from memrepo.validation.names import HFS_IGNORED, PathSet
from memrepo.validation.refs import SHORT_SHA_MIN, TIME_FORM, Ref

TIME_MAX_S = 253_402_300_800
"""The end of the year 9999: what a date can say."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=-]{0,127}\Z")
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}\Z")
_SHA = re.compile(r"[0-9a-f]{40}\Z")
_SHA256 = re.compile(r"([0-9a-f]{64})?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IDENT_FORBIDDEN = re.compile(r"[<>\x00-\x1f\x7f]")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_WINDOWS_FORBIDDEN = re.compile(r'[:"*<>?|]')
_USUAL_BRANCH = "main"  # what nearly every request names, on both sides of the queue
_NO_COMPONENT = "has an empty, '.' or '..' component"
_WINDOWS_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[1-9¹²³]|lpt[1-9¹²³]) *(\.|\Z)", re.IGNORECASE
)
_REMEMBERED_CHARS_MAX = 128
_NAME_BYTES_MAX = 255  # what any file system takes, so nothing is to be gained by remembering longer ones
_NTFS_SHORT_NAME = re.compile(r"(git|gitmod|gi7eba)~[0-9]+\Z")
_RESERVED = {
    ".git": "is git's own directory",
    ".gitmodules": "would configure submodules, which memrepo does not keep",
}


def check_id(value: str, field: str) -> str:
    """Check an org or agent id: 1 to 128 of ``A-Z a-z 0-9 . _ @ + = -``, beginning with a letter or digit."""
    _require_text(value, field)
    if not _ID.match(value):
        raise InvalidRequestError.of(
            field, "must be 1 to 128 letters, digits or ._@+=- and begin with a letter or digit"
        )
    return value


def check_request_id(value: str, field: str = "request_id") -> str:
    """Check a request id: 8 to 64 letters, digits, ``-`` or ``_``; a UUID is best."""
    _require_text(value, field)
    if not _REQUEST_ID.match(value):
        raise InvalidRequestError.of(field, "must be 8 to 64 letters, digits, - or _ (a UUID is best)")
    return value


def check_timeout(value_s: object, field: str = "timeout_s") -> None:
    """Check how long a caller will wait: a number of seconds, or None for as long as it takes."""
    if value_s is None:
        return
    if isinstance(value_s, bool) or not isinstance(value_s, int | float):
        raise InvalidRequestError.of(
            field, f"must be a number of seconds or None, not {type(value_s).__name__}"
        )
    if not value_s <= threading.TIMEOUT_MAX:  # false of nan, too
        raise InvalidRequestError.of(
            field, f"must be at most {threading.TIMEOUT_MAX:.0f}, or None for as long as it takes"
        )


def _require_text(value: object, field: str) -> None:
    """Check what no model has checked."""
    if not isinstance(value, str):
        raise InvalidRequestError.of(field, f"must be str, not {type(value).__name__}")


def check_path(path: str, limits: Limits, field: str) -> str:
    """Check one file path and return it; its parts are separated by ``/`` and it has no leading ``/``."""
    if len(path) > _REMEMBERED_CHARS_MAX or not _is_path(path, limits):
        _check_path(path, limits, field)
    return path


@lru_cache(1024)  # an agent writes the same files again and again
def _is_path(path: str, limits: Limits) -> bool:
    with suppress(InvalidRequestError, TooLargeError):
        _check_path(path, limits, "path")
        return True
    return False


def _check_path(path: str, limits: Limits, field: str) -> None:
    raw = check_unicode(path, field)
    if len(raw) > limits.path_bytes_max:
        raise TooLargeError.of(
            field, f"is {len(raw)} bytes long, over path_bytes_max ({limits.path_bytes_max})"
        )
    components = path.split("/")
    if len(components) > limits.path_depth_max:
        raise TooLargeError.of(
            field, f"is {len(components)} levels deep, over path_depth_max ({limits.path_depth_max})"
        )
    if len(components) > 1 and not components[-1]:
        raise InvalidRequestError.of(field, f"{_NO_COMPONENT}: leave out the '/' at its end")
    for component in components:
        _check_component(component, limits, field)


def fault_of_path(path: str, limits: Limits) -> str | None:
    """Say why a commit is refused a file of this path, or None.

    It is the rule's part of what ``check_path`` says, without the path's own figures: equal reasons count as one.
    """
    try:
        check_path(path, limits, "path")
    except TooLargeError as error:
        return f"is over {error.message.rpartition(' over ')[2]}"
    except InvalidRequestError as error:
        return error.message.removeprefix("path: ")
    return None


def _check_component(component: str, limits: Limits, field: str) -> None:
    """Check one name of a path by git's rules for the platforms that memories must go to."""
    find_fault = _fault_of if len(component) <= _NAME_BYTES_MAX else _fault_of.__wrapped__
    reason = find_fault(component, everywhere=limits.portable_names == "everywhere")
    if reason is not None:
        raise InvalidRequestError.of(field, reason)
    if len(component.encode()) > limits.component_bytes_max:
        raise TooLargeError.of(
            field, f"has a component over component_bytes_max ({limits.component_bytes_max} bytes)"
        )


@lru_cache(1024)  # the same names come again and again, on both sides of the queue
def _fault_of(component: str, *, everywhere: bool) -> str | None:
    """Say what is wrong with a name on the platforms that memories must go to, or None."""
    reason = _fault_anywhere(component)
    return _fault_on_windows(component) if reason is None and everywhere else reason


def _fault_anywhere(component: str) -> str | None:
    """Say what is wrong with a name on every platform, or None."""
    visible = component.translate(HFS_IGNORED)
    if visible in ("", ".", ".."):
        return _NO_COMPONENT
    if _CONTROL.search(component):
        return "has a control character"
    if "\\" in component:
        return "has a backslash, which separates names on Windows"
    # NTFS passes over dots and spaces at the end, and over the name of a stream.
    plain = visible.casefold().partition(":")[0].rstrip(". ")
    if plain in _RESERVED:
        return f"{plain} {_RESERVED[plain]}"
    if _NTFS_SHORT_NAME.match(plain):
        return "has a component that NTFS takes for the short name of a git file"
    return None


def _fault_on_windows(component: str) -> str | None:
    """Say what is wrong with a name on Windows alone, and how to take it all the same, or None."""
    if _WINDOWS_FORBIDDEN.search(component):
        reason = 'has one of : " * < > ? |, which Windows cannot store'
    elif component[-1] in ". ":
        reason = "has a component that ends with a dot or space, which Windows drops"
    elif _WINDOWS_DEVICE.match(component):
        reason = "has a component that Windows reserves for a device"
    else:
        return None
    return f"{reason} (MEMREPO_PORTABLE_NAMES=posix takes it)"


def check_paths_together(paths: Iterable[str], field: str) -> None:
    """Check that files do not collide: no path twice, none that is another's name elsewhere, none in another."""
    together = PathSet()
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise InvalidRequestError.of(field, f"{path!r} is there twice", path=path)
        clash = together.take(path)
        if clash is not None:
            raise InvalidRequestError.of(field, str(clash), path=path)
        seen.add(path)


def check_branch(name: str, field: str = "branch") -> str:
    """Check a branch name by ``git check-ref-format --branch``; also refuses ``HEAD`` and a bare sha."""
    if name == _USUAL_BRANCH:
        return name
    check_unicode(name, field)
    if not _is_branch_name(name):
        raise InvalidRequestError.of(field, "is not a branch name that git accepts everywhere")
    return name


def check_tag(name: str, field: str = "tag") -> str:
    """Check a tag's name: by the same rules as a branch's, as one text may name either."""
    check_unicode(name, field)
    if not _is_branch_name(name):
        raise InvalidRequestError.of(field, "is not a tag name that git accepts everywhere")
    return name


def _is_branch_name(name: str) -> bool:
    # Room is left for "refs/heads/" and ".lock" in one file name.
    return len(name.encode()) <= 200 and _is_wellformed_branch_name(name)


@lru_cache(256)
def _is_wellformed_branch_name(name: str) -> bool:
    bad_part = any(not part or part.startswith(".") or part.endswith(".lock") for part in name.split("/"))
    return not (
        bad_part
        or _REF_FORBIDDEN.search(name)
        or name in ("@", "HEAD")
        or name.startswith(("-", "refs/"))
        or name.endswith(".")
        or _SHA.match(name)
    )


def check_ref(ref: str, field: str = "ref") -> str:
    """Check what may name a commit: ``HEAD``, a branch or tag (short or ``refs/…``), a sha or the beginning of one.

    ``@{time}`` may follow a branch or ``HEAD``, and ``~n`` each. Whether there is exactly one such commit is for the
    worker to say.
    """
    if ref == _USUAL_BRANCH:
        return ref
    check_unicode(ref, field)
    asked = Ref.parse(ref)
    name = asked.name
    if asked.at is not None and (asked.is_sha or name.startswith("refs/tags/")):
        raise InvalidRequestError.of(field, "is of a commit that never moves: leave @{time} out")
    if name == "HEAD" or _SHA.match(name):
        return ref
    branch = next(
        (name.removeprefix(prefix) for prefix in ("refs/heads/", "refs/tags/") if name.startswith(prefix)),
        name,
    )
    if not _is_branch_name(branch):
        raise InvalidRequestError.of(
            field,
            f"must be HEAD, a branch, a tag or a commit sha (of at least {SHORT_SHA_MIN} digits); @{{{TIME_FORM}}} may "
            "follow a branch, and ~n each",
        )
    return ref


def check_sha(value: str, field: str) -> str:
    """Check a full commit sha: 40 lower-case hexadecimal digits."""
    if not _SHA.match(value):
        raise InvalidRequestError.of(field, "must be a full commit sha of 40 lower-case hexadecimal digits")
    return value


def check_sha256(value: str, field: str) -> str:
    """Check a content's sha256 in lower-case hexadecimal; empty means that the file must not exist."""
    if not _SHA256.match(value):
        raise InvalidRequestError.of(field, "must be 64 lower-case hexadecimal digits, or empty")
    return value


def check_ident(value: str, field: str) -> str:
    """Check a name or e-mail of an author: one line, no ``<`` or ``>``, no white space around it."""
    check_unicode(value, field)
    if not value or len(value.encode()) > 255:
        raise InvalidRequestError.of(field, "must be 1 to 255 bytes long")
    if _IDENT_FORBIDDEN.search(value):
        raise InvalidRequestError.of(field, "must not hold <, > or control characters")
    if value != value.strip():
        raise InvalidRequestError.of(field, "must not begin or end with white space")
    return value


def check_message(message: str, limits: Limits, field: str = "message") -> str:
    """Check a commit message: UTF-8, no NUL, not only white space, within the limit."""
    raw = check_unicode(message, field)
    if "\0" in message:
        raise InvalidRequestError.of(field, "must not hold NUL")
    if not message.strip():
        raise InvalidRequestError.of(field, "must not be empty")
    if len(raw) > limits.message_bytes_max:
        raise TooLargeError.of(
            field, f"is {len(raw)} bytes long, over message_bytes_max ({limits.message_bytes_max})"
        )
    return message


def check_time(value_s: float, field: str) -> float:
    """Check a time in seconds since 1970-01-01 UTC: one that git and ISO 8601 can write, up to the year 9999."""
    if not 0 <= value_s < TIME_MAX_S or math.copysign(1, value_s) < 0:  # a zero may have a sign, too
        raise InvalidRequestError.of(field, "must be between the years 1970 and 9999")
    return value_s


def read_time_s(value: object) -> float | None:
    """Return a time that somebody else wrote, such as ``check_time`` lets through; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # False of nan; and an int may be too large for a float.
    return float(value) if 0 <= value < TIME_MAX_S else None


def check_count(value: int, field: str, least: int, most: int) -> int:
    """Check a number against its range."""
    if not least <= value <= most:
        raise InvalidRequestError.of(field, f"must be between {least} and {most}")
    return value


def check_unicode(text: str, field: str) -> bytes:
    """Return a text as UTF-8; what is no Unicode is refused."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError.of(field, _no_unicode(text)) from None


def _no_unicode(text: str) -> str:
    """Say what a text has that UTF-8 cannot; bytes of another encoding are in it as Python reads names of files."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return "is not valid Unicode (it has a lone surrogate)"
    return "is not UTF-8 (it has bytes of another encoding)"


def check_text(value: str, limits: Limits, field: str) -> str:
    """Check a plain search text such as a prefix: valid Unicode, no control character, no longer than a path."""
    raw = check_unicode(value, field)
    if len(raw) > limits.path_bytes_max or _CONTROL.search(value):
        raise InvalidRequestError.of(field, "must be at most path_bytes_max long, without control characters")
    return value
