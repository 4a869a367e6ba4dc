"""What a warm repository knows of its journal: how far it has read, the refs there, and where its ledger lies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field

from memrepo.json_text import read_json
from memrepo_worker.git.pack_files import Sizes
from memrepo_worker.repos.ledger_segment import SegmentFile
from memrepo_worker.store.content import Content, pieces_of
from memrepo_worker.threads.giving_way import pieces

_FORMAT = 4


@dataclass(frozen=True)
class RepoState:
    """The state after entry ``seq``; 0 means that the journal was never begun.

    ``refs`` maps full names of branches and tags to ids; empty means that there is no repository (never created, or
    deleted). ``tip_sha256`` is the digest of the last entry's bytes, by which a copy from disk is recognised. ``seal``
    is the number of the newest seal that is known, 0 for none. ``packs`` names the packs on disk when the state was
    written, with their sizes: one that is gone or cut later is damage, and not an object that never was. ``ledger``
    names the files of the ledger then. ``origin_sha`` is the blob that says what it was forked from; None: it was not.
    """

    seq: int = 0
    refs: Mapping[str, str] = field(default_factory=dict)
    tip_sha256: str = ""
    seal: int = 0
    packs: Mapping[str, Sizes] = field(default_factory=dict)
    ledger: tuple[SegmentFile, ...] = ()
    origin_sha: str | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a repository."""
        return bool(self.refs)

    @property
    def begun(self) -> bool:
        """Whether the journal has any entry."""
        return self.seq > 0

    def encode(self) -> bytes:
        """Return the state as it is kept beside the packs: a line with the digest of the rest, then JSON."""
        body = json.dumps(
            {
                "format": _FORMAT,
                "seq": self.seq,
                "refs": dict(self.refs),
                "tip_sha256": self.tip_sha256,
                "seal": self.seal,
                "packs": dict(self.packs),
                "ledger": [astuple(file) for file in self.ledger],
                "origin_sha": self.origin_sha,
            }
        ).encode()
        return f"{sha256_of(body)}\n".encode() + body

    @classmethod
    def decode(cls, data: bytes) -> RepoState:
        """Rebuild a state.

        Raises:
            ValueError: it is of another format, or damaged.
        """
        digest, _, body = data.partition(b"\n")
        if digest.decode(errors="replace") != sha256_of(body):
            raise ValueError("damaged state")
        value = read_json(body)
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise ValueError("state of another format")
        try:
            ledger = tuple(
                SegmentFile(str(name), int(size), str(sha256)) for name, size, sha256 in value["ledger"]
            )
            seq, seal = int(value["seq"]), int(value["seal"])
            packs = {str(name): (int(pack), int(index)) for name, (pack, index) in value["packs"].items()}
            origin = value["origin_sha"]
            return cls(
                seq,
                dict(value["refs"]),
                str(value["tip_sha256"]),
                seal,
                packs,
                ledger,
                None if origin is None else str(origin),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"state of another form: {error}") from error


def sha256_of(content: Content) -> str:
    """Return the digest by which an entry's bytes are recognised."""
    digest = hashlib.sha256()
    for piece in pieces(content) if isinstance(content, bytes) else pieces_of(content):
        digest.update(piece)
    return digest.hexdigest()
