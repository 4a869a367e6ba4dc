"""The decoders: what each is called with, which errors it may raise, and samples of what is sound."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from memrepo import MemoryRepoError
from memrepo.json_text import read_json
from memrepo.limits import Limits
from memrepo.tracing.context import carried
from memrepo.validation.values import TIME_MAX_S
from memrepo.wire import payload, record
from memrepo.wire.operations import OPERATIONS, build, result_of_task, validate
from memrepo.wire.versions import check_message_version
from memrepo_worker.git.bundles import NotABundleError, decode_bundle
from memrepo_worker.git.objects import (
    GitObject,
    Kind,
    decode_safe_tree,
    decode_sound_commit,
    object_id,
    tagged,
)
from memrepo_worker.git.pack_sizes import check_unpacked, delta_bases, find_blob, holds
from memrepo_worker.git.packs import encode_pack
from memrepo_worker.git.trees.stored import StoredTree
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import JournalUnreadableError, decode_entry, encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine, decode_lines, encode_lines
from memrepo_worker.queues.consumer.task_request import _claim_of
from memrepo_worker.queues.leases.status import enqueued_s
from memrepo_worker.queues.transport.channel import ShardChannel
from memrepo_worker.queues.transport.messages import read_tag
from memrepo_worker.repos.ledger_segment import LedgerSegment, SegmentFile
from memrepo_worker.repos.state import RepoState
from memrepo_worker.repos.trust import WarmRepoDamagedError
from memrepo_worker.service.forks.origin_lines import OriginLine, decode_origins, encode_origins
from memrepo_worker.store.backends.files.names import part_of
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.identity import IDENTITY_KEY, read_identity
from memrepo_worker.store.interface import ABSENT, RefusedError
from tests.support.bombs import nested_deltas
from tests.support.samples import HEAD, SAMPLES

_AGENT = Agent("acme", "agent-1")
LAYOUT = Layout.of("acme", "agent-1")
UNPACKED_BYTES_MAX = 16 * 1024 * 1024
LIMITS = Limits()
SHA = "1" * 40


@dataclass(frozen=True)
class Decoder:
    """``errors`` may be raised. ``seal`` makes the checksum right that guards what was changed, if there is one."""

    name: str
    decode: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    samples: tuple[bytes, ...]
    seal: Callable[[bytes], bytes] = bytes


def _objects() -> Mapping[str, GitObject]:
    who = b"A <a@example.org> 1700000000 +0000"
    blob = GitObject(Kind.BLOB, b"likes tea\n")
    tree = GitObject(
        Kind.TREE,
        b"".join(b"100644 %b\0" % name + bytes.fromhex(object_id(blob)) for name in (b"a.md", b"b.md")),
    )
    lines = b"tree %b\nparent %b\nauthor %b\ncommitter %b\nencoding latin1\n\nsaid" % (
        object_id(tree).encode(),
        SHA.encode(),
        who,
        who,
    )
    tag = GitObject(Kind.TAG, b"object %b\ntype commit\ntag t\ntagger %b\n\nsaid\n" % (SHA.encode(), who))
    return {object_id(item): item for item in (blob, tree, GitObject(Kind.COMMIT, lines), tag)}


OBJECTS = _objects()
_LINES = [
    LedgerLine("request-1", "0" * 32, "committed", 1.75e9, SHA, {"new_branch": True}),
    LedgerLine(
        "request-2", "0" * 32, "HeadMovedError", 1.75e9, detail={"message": "m", "details": {"head": SHA}}
    ),
]
_ENTRY = encode_entry(OBJECTS, {"refs/heads/main": SHA, "refs/tags/t": SHA}, [SHA], _LINES)
_PACK = encode_pack(OBJECTS).data


def _of_kind(kind: Kind) -> bytes:
    return next(item.data for item in OBJECTS.values() if item.kind is kind)


def _sealed_pack(data: bytes) -> bytes:
    return data[:-20] + hashlib.sha1(data[:-20]).digest()


def _sealed_entry(data: bytes) -> bytes:
    at = data.find(b"PACK")
    return data if at < 0 else data[:at] + _sealed_pack(data[at:])


def _sealed_state(data: bytes) -> bytes:
    body = data.partition(b"\n")[2]
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _look_through_pack(data: bytes) -> None:
    holds(data, SHA)
    with suppress(ValueError):
        delta_bases(data)
    check_unpacked(data, UNPACKED_BYTES_MAX, UNPACKED_BYTES_MAX)


def _found_in_pack(data: bytes) -> object:
    found = find_blob(data, SHA, UNPACKED_BYTES_MAX)
    assert found is None
    return found


def _identity(data: bytes) -> object:
    store = MemoryStore()
    store.put(IDENTITY_KEY, data, ABSENT)
    return read_identity(store)


def _key(data: bytes) -> None:
    """Whatever an object is called, it is one thing at most: an entry, a base or segment, or none of ours."""
    key = data.decode("ascii", errors="replace")
    Layout.ids_of(key)
    names = (LAYOUT.entry_seq(key), LAYOUT.base_seq(key), LAYOUT.segment_seqs(key))
    assert len([name for name in names if name is not None]) <= 1
    seq, base, segment = names
    assert seq is None or key == LAYOUT.entry(seq)
    assert base is None or key == LAYOUT.base(base)
    assert segment is None or key == LAYOUT.segment(*segment)
    assert (base is None and segment is None) or LAYOUT.accelerator_seq(key) is not None


def _file_name(data: bytes) -> None:
    """Whatever a file in a folder is called, it stands for one part of a key, or for none."""
    part = part_of(os.fsdecode(data))
    assert part is None or "/" not in part


def _tag(data: bytes) -> None:
    found = read_tag(data.decode(errors="replace"))
    assert found is None or found[0] >= 0


def _headers(data: bytes) -> None:
    values = read_json(data)
    if not isinstance(values, dict):
        return
    for value in carried(values).values():
        assert value.isascii()
        assert value.isprintable()
    check_message_version(values)
    _claim_of(values.get("body"), LIMITS)


def _ledger_file(data: bytes) -> None:
    """What a file of the ledger has that is no more what was written is seen by its checksum; each line has its own."""
    with TemporaryDirectory() as folder:
        Path(folder, "lines").write_bytes(data)
        segment = LedgerSegment.load(
            Path(folder), SegmentFile("lines", len(data), hashlib.sha256(data).hexdigest())
        )
        segment.find("request-1")


def _envelope(data: bytes) -> object:
    channel = ShardChannel.__new__(ShardChannel)  # of which no more than its codecs is needed
    envelope = channel._envelope(data, "memrepo.000", "tag")
    assert envelope["properties"]["delivery_tag"] == "tag"
    return envelope


def _waiting(data: bytes) -> None:
    """Whatever waits in a queue, it can be told since when; its body is changed as it lies in the envelope, too."""
    for raw in (data, json.dumps({"body": base64.b64encode(data).decode()}).encode()):
        found = enqueued_s(raw)
        assert found is None or 0 <= found < TIME_MAX_S


def _request(data: bytes) -> None:
    values = read_json(data)
    if not isinstance(values, list) or len(values) != 2 or not isinstance(values[1], dict):
        return
    operation = OPERATIONS.get(str(values[0]))
    if operation is not None and all(isinstance(name, str) for name in values[1]):
        validate(build(operation.request, **values[1]), LIMITS)


def _record(data: bytes) -> object:
    """Whatever it is, it is a record or none; its parts are asked for as a client does."""
    found = record.read(data)
    if found is not None:
        assert isinstance(found.reason, str)
        assert found.since_s is None or found.since_s >= 0
        assert isinstance(found.error, MemoryRepoError)
        assert found.claim is None or found.claim.chunks > 0
    return found


def _result(data: bytes) -> object:
    found = record.read(data)
    return None if found is None else result_of_task(payload.Payload(found.result), found.task_name)


def _payload(data: bytes) -> object:
    """Decode what would be compressed, of its right length; and, as it is, what would be compressed already."""
    with suppress(payload.BrokenPayloadError):
        payload.decode([data], UNPACKED_BYTES_MAX)
    return payload.decode([zlib.compress(data, 1)], len(data))


def _results() -> Iterator[bytes]:
    for name, sample in SAMPLES.items():
        value = OPERATIONS[name].result_to_json(sample.result)
        told = {"task_id": "t", "status": "SUCCESS", "result": value, "name": f"memrepo.{name}"}
        yield json.dumps(told).encode()


def _records() -> Iterator[bytes]:
    for sound in _results():
        yield sound
        yield json.dumps({**json.loads(sound), "name": None}).encode()
    fault = {
        "exc_type": "HeadMovedError",
        "exc_message": ["moved", {"since": 1.0}],
        "exc_module": "memrepo.errors",
    }
    yield json.dumps({"task_id": "t", "status": "FAILURE", "result": fault}).encode()
    claim = {"body": {"chunks": 1, "size_bytes": 9}}
    yield json.dumps({"task_id": "t", "status": "SUCCESS", "result": claim}).encode()


def _envelopes() -> Iterator[bytes]:
    properties = {"correlation_id": "c", "delivery_info": {}, "body_encoding": "base64", "priority": 0}
    headers = {"task": "memrepo.commit", "id": "t", "argsrepr": "()"}
    yield json.dumps(
        {
            "body": "W1tdLCB7fSwge31d",
            "properties": properties,
            "headers": headers,
            "content-type": "application/json",
        }
    ).encode()


def _waiting_bodies() -> Iterator[bytes]:
    yield json.dumps([[], {"request": HEAD}, {}]).encode()
    for number in ("9" * 400, "9" * 5000, "NaN", "-1", "-Infinity", "1e308", "true", '"1"', "[1]", "null"):
        yield b'[[],{"request":{"enqueued_at":%b}},{}]' % number.encode()


def _told_in_headers() -> Iterator[bytes]:
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    yield json.dumps({"traceparent": parent, "tracestate": "a=b,c=d"}).encode()
    yield json.dumps({"traceparent": parent, "body": {"chunks": 1, "size_bytes": 9}}).encode()


def _file_of_lines() -> bytes:
    texts = [str(line).encode() for line in _LINES]
    return b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts)


def _requests() -> Iterable[bytes]:
    return (json.dumps([name, {**HEAD, **sample.body}]).encode() for name, sample in SAMPLES.items())


_DECODERS = (
    Decoder("bundle", decode_bundle, (NotABundleError,), (_ENTRY,)),
    Decoder("entry", lambda data: decode_entry(1, data), (JournalUnreadableError,), (_ENTRY,), _sealed_entry),
    Decoder("pack", _look_through_pack, (ValueError,), (_PACK, nested_deltas([2, 2])), _sealed_pack),
    Decoder("object in a pack", _found_in_pack, (ValueError,), (_PACK, nested_deltas([2, 2])), _sealed_pack),
    Decoder("tree", decode_safe_tree, (ValueError,), (_of_kind(Kind.TREE),)),
    Decoder("large tree", StoredTree, (ValueError,), (_of_kind(Kind.TREE),)),
    Decoder("commit", decode_sound_commit, (ValueError,), (_of_kind(Kind.COMMIT),)),
    Decoder("tag", tagged, (ValueError,), (_of_kind(Kind.TAG),)),
    Decoder("ledger", decode_lines, (ValueError,), (encode_lines(_LINES),)),
    Decoder("ledger file", _ledger_file, (ValueError, WarmRepoDamagedError), (_file_of_lines(),)),
    Decoder(
        "origins", decode_origins, (ValueError,), (encode_origins([OriginLine(_AGENT, SHA, 1.75e9)] * 2),)
    ),
    Decoder("identity", _identity, (RefusedError,), (b'{"format": 1, "store": "abc123"}',)),
    Decoder(
        "key",
        _key,
        (),
        tuple(
            key.encode()
            for key in (LAYOUT.entry(7), LAYOUT.base(7), LAYOUT.segment(7, 8), LAYOUT.legacy_head)
        ),
    ),
    Decoder("file name", _file_name, (), (b"a", b"%41b", b"a" * 200 + b"%+")),
    Decoder("tag of a message", _tag, (), (b"3/17", b"063/9999999")),
    Decoder("headers", _headers, (MemoryRepoError, ValueError), tuple(_told_in_headers())),
    Decoder(
        "state",
        RepoState.decode,
        (ValueError,),
        (RepoState(3, {"refs/heads/main": SHA}, "0" * 64, 1, {f"pack-{SHA}": (1, 2)}).encode(),),
        _sealed_state,
    ),
    Decoder("envelope", _envelope, (Exception,), tuple(_envelopes())),
    Decoder("waiting", _waiting, (), (*_envelopes(), *_waiting_bodies())),
    Decoder("request", _request, (MemoryRepoError, ValueError), tuple(_requests())),
    Decoder("record", _record, (), tuple(_records())),
    Decoder("result", _result, (ValueError,), tuple(_results())),
    Decoder(
        "payload",
        _payload,
        (payload.BrokenPayloadError,),
        tuple(
            zlib.decompress(b"".join(payload.encode(payload.Payload({"a": {"attached": 0}}, contents))))
            for contents in ((b"content",), (b"", b"x" * 500))
        ),
    ),
)
DECODERS: Mapping[str, Decoder] = {decoder.name: decoder for decoder in _DECODERS}

KEPT = Path(__file__).parent / "kept"
"""Inputs that were once decoded wrongly: the name of the decoder, a dash, and what was wrong with it."""


def kept() -> Iterator[tuple[Decoder, Path]]:
    """Yield every input that is kept, with its decoder."""
    for path in sorted(KEPT.glob("[a-z]*")):
        yield DECODERS[path.name.partition("-")[0]], path
