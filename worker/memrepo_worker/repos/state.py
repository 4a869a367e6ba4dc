"""What a warm repository knows of its journal: how far it has read, the refs there, and the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from memrepo.json_text import read_json
from memrepo_worker.git.pack_files import Sizes
from memrepo_worker.journal.ledger import Ledger, decode_lines, encode_lines

_FORMAT = 2


@dataclass(frozen=True)
class RepoState:
    """The state after entry ``seq``; 0 means that the journal was never begun.

    ``refs`` maps full names of branches and tags to ids; empty means that there is no repository (never created, or
    deleted). ``tip_sha256`` is the digest of the last entry's bytes, by which a copy from disk is recognised. ``seal``
    is the number of the newest seal that is known, 0 for none. ``packs`` names the packs on disk when the state was
    written, with their sizes: one that is gone or cut later is damage, and not an object that never was.
    """

    seq: int = 0
    refs: Mapping[str, str] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    tip_sha256: str = ""
    seal: int = 0
    packs: Mapping[str, Sizes] = field(default_factory=dict)

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
                "ledger": encode_lines(self.ledger.lines()).decode(),
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
            ledger = Ledger(decode_lines(value["ledger"].encode()))
            seq, seal = int(value["seq"]), int(value["seal"])
            packs = {str(name): (int(pack), int(index)) for name, (pack, index) in value["packs"].items()}
            return cls(seq, dict(value["refs"]), ledger, str(value["tip_sha256"]), seal, packs)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"state of another form: {error}") from error


def sha256_of(data: bytes) -> str:
    """Return the digest by which an entry's bytes are recognised."""
    return hashlib.sha256(data).hexdigest()
