"""From where memrepo was installed here, and so what installs it with more."""

from __future__ import annotations

import shlex
from importlib import metadata
from typing import Any
from urllib.parse import unquote

from memrepo.json_text import read_json

_NAME = "memrepo"


def install_command(extra: str = "") -> str:
    """Return the command that installs memrepo with an extra, from where this one came.

    A checkout, a built package and a repository are named as they were then (pip keeps that in ``direct_url.json``,
    PEP 610): with a bare name pip would take whatever its index has of that name.
    """
    origin = _origin()
    wanted = f"[{extra}]" if extra else ""
    option = "--editable " if _part(origin, "dir_info").get("editable") is True else ""
    return f"pip install {option}{shlex.quote(_target(origin, wanted))}"


def _target(origin: dict[str, Any], wanted: str) -> str:
    url, repository = str(origin.get("url", "")), _part(origin, "vcs_info")
    if repository:
        return f"{_NAME}{wanted} @ {repository.get('vcs')}+{url}@{repository.get('commit_id')}"
    if url.startswith("file://"):
        return unquote(url.removeprefix("file://")) + wanted
    return f"{_NAME}{wanted} @ {url}" if url else f"{_NAME}{wanted}"


def _origin() -> dict[str, Any]:
    try:
        origin = read_json(metadata.distribution(_NAME).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}


def _part(origin: dict[str, Any], name: str) -> dict[str, Any]:
    part = origin.get(name)
    return part if isinstance(part, dict) else {}
