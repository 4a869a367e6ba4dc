"""The table of commands: what each is given in every situation that it can meet, and what it says then.

In arguments and environments ``{agent}`` is an agent with a memory of its own, ``{new}`` one without, ``{legacy}`` one
that a Letta server left behind, ``{fork}`` one whose memory was forked from another's, ``{job}`` a job that is done and
``{failed}`` one that met a conflict, ``{sha}`` a commit of nobody's, ``{folder}`` the current folder, ``{bundle}`` a
memory as a bundle, ``{repository}`` one in git, ``{refusing}`` a store that takes no key, ``{taken}`` a port that
somebody has, and ``{versioned}`` a bucket with versioning, where the memory ``{deleted}`` was deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from memrepo.settings import Settings, shown
from tests.support.seaweedfs import ACCESS_KEY, SECRET_KEY

NOTHING, CONFLICT, BAD = "nothing there", "conflict", "bad input"
PASSWORD, BROKER, STORE = "wrong password", "broker away", "store away"
SITUATIONS = (NOTHING, CONFLICT, BAD, PASSWORD, BROKER, STORE)
"""What else can be met, beside that all goes well."""


@dataclass(frozen=True)
class Case:
    """What is given, and what is said: the exit code, words of the one line, and the ``type`` of the error as JSON."""

    arguments: str
    code: int
    says: str
    kind: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One command.

    ``keys`` are those of the JSON document, or of the documents in its list, that it prints when all goes well; None
    where it has no ``--json``. ``text`` says that the document is a text. ``never`` says why a situation cannot be met.
    ``env`` is what it needs to go well that is not as usual.
    """

    well: str
    keys: str | None
    cases: Mapping[str, Case]
    never: Mapping[str, str] = field(default_factory=dict)
    text: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


COMMIT_KEYS = (
    "sha parent_sha message author_type author_id author_name author_email timestamp files_changed additions deletions "
    "request_id counts_exact"
)
RESULT_KEYS = f"{COMMIT_KEYS} branch created new_branch rebased_from"

READS = "it changes nothing"
ONE_LINE_WRONG_PASSWORD = "check user and password in its URL: WRONGPASS"
NOBODY_LISTENS = "nobody listens there"
OF_THE_STORE_ALONE = "it speaks to the store alone"
OF_THE_BROKER_ALONE = "it speaks to the broker alone"


def over_the_queue(arguments: str) -> dict[str, Case]:
    """Return what a command says whose request does not get through."""
    unavailable = "BrokerUnavailableError"
    waiting = arguments.replace("{agent}", "waits").replace(
        "{new}", "waits"
    )  # one agent's requests wait together
    return {
        PASSWORD: Case(arguments, 5, ONE_LINE_WRONG_PASSWORD, unavailable),
        BROKER: Case(arguments, 5, NOBODY_LISTENS, unavailable),
        STORE: Case(f"{waiting} --timeout 0.2", 5, "has not ended within 0.2 s", "JobTimeoutError"),
    }


def at_the_store(arguments: str) -> dict[str, Case]:
    """Return what a command says that the store does not let in, or does not answer."""
    unavailable = "StoreUnavailableError"
    return {
        PASSWORD: Case(arguments, 5, "InvalidAccessKeyId", unavailable, {"MEMREPO_STORE_URL": "{refusing}"}),
        STORE: Case(arguments, 5, "connection refused (ECONNREFUSED)", unavailable),
    }


class Refusal(TypedDict):
    """How a command ends that is refused."""

    code: int
    says: str
    kind: str


NO_MEMORY: Refusal = {"code": 3, "says": "{new} has no memory", "kind": "RepoNotFoundError"}
INVALID = "InvalidRequestError"

PRODUCER: Mapping[str, Row] = {
    "append": Row(
        "append acme {agent} log.md x",
        RESULT_KEYS,
        {
            NOTHING: Case("append acme {new} log.md x", **NO_MEMORY),
            CONFLICT: Case(
                "append acme {agent} log.md x --expected-head {sha}", 4, "not at {sha}", "HeadMovedError"
            ),
            BAD: Case("append acme {agent} ../x y", 2, "PATH: has an empty", INVALID),
            **over_the_queue("append acme {agent} log.md x"),
        },
    ),
    "insert": Row(
        "insert acme {agent} human.md 0 x",
        RESULT_KEYS,
        {
            NOTHING: Case(
                "insert acme {agent} nowhere.md 0 x", 3, "'nowhere.md' is not there", "PathNotFoundError"
            ),
            CONFLICT: Case(
                "insert acme {agent} human.md 99 x", 4, "so there is no line 99", "ContentMovedError"
            ),
            BAD: Case("insert acme {agent} human.md many x", 2, "is not a valid integer", "UsageError"),
            **over_the_queue("insert acme {agent} human.md 0 x"),
        },
    ),
    "move": Row(
        "move acme {agent} human.md moved.md",
        RESULT_KEYS,
        {
            NOTHING: Case(
                "move acme {agent} nowhere.md x.md", 3, "'nowhere.md' is not there", "PathNotFoundError"
            ),
            CONFLICT: Case(
                "move acme {agent} human.md moved.md --expected-head {sha}",
                4,
                "not at {sha}",
                "HeadMovedError",
            ),
            BAD: Case("move acme {agent} human.md human.md/x", 2, "TO: is inside of the path", INVALID),
            **over_the_queue("move acme {agent} human.md moved.md"),
        },
    ),
    "replace": Row(
        "replace acme {agent} human.md likes loves",
        RESULT_KEYS,
        {
            NOTHING: Case(
                "replace acme {agent} nowhere.md a b", 3, "'nowhere.md' is not there", "PathNotFoundError"
            ),
            CONFLICT: Case(
                "replace acme {agent} human.md never-there x", 4, "0 times, not 1", "ContentMovedError"
            ),
            BAD: Case(
                "replace acme {agent} human.md tea x --count 0", 2, "--count: must be between", INVALID
            ),
            **over_the_queue("replace acme {agent} human.md likes loves"),
        },
    ),
    "branches": Row(
        "branches acme {agent} --create draft",
        "name sha",
        {
            NOTHING: Case("branches acme {new}", **NO_MEMORY),
            BAD: Case("branches acme {agent} --create a..b", 2, "--create: is not a branch name", INVALID),
            **over_the_queue("branches acme {agent}"),
        },
        {CONFLICT: "of a branch that is there and has moved on, which test_the_command_line shows"},
    ),
    "cat": Row(
        "cat acme {agent} human.md",
        "path data sha size executable",
        {
            NOTHING: Case("cat acme {agent} nowhere.md", 3, "'nowhere.md' is no file", "PathNotFoundError"),
            BAD: Case("cat acme {agent} ../x", 2, "PATH: has an empty, '.' or '..'", INVALID),
            **over_the_queue("cat acme {agent} human.md"),
        },
        {CONFLICT: READS},
    ),
    "commit": Row(
        "commit acme {agent} -m m --text a.md x",
        RESULT_KEYS,
        {
            NOTHING: Case("commit acme {new} -m m --text a.md x", **NO_MEMORY),
            CONFLICT: Case(
                "commit acme {agent} -m m --text a.md x --expected-head {sha}",
                4,
                "not at {sha}",
                "HeadMovedError",
            ),
            BAD: Case("commit acme {agent} -m m --text ../x y", 2, "--text '../x': has an empty", INVALID),
            **over_the_queue("commit acme {agent} -m m --text a.md x"),
        },
    ),
    "config": Row(
        "config",
        " ".join(shown(Settings())),
        {
            BAD: Case(
                "config", 2, "MEMREPO_SHARDS: 'many' is not a number", INVALID, {"MEMREPO_SHARDS": "many"}
            )
        },
        dict.fromkeys((NOTHING, CONFLICT, PASSWORD, BROKER, STORE), "it asks nobody"),
    ),
    "create": Row(
        "create acme {new}",
        RESULT_KEYS,
        {
            CONFLICT: Case("create acme {agent}", 4, "{agent} has a memory already", "RepoExistsError"),
            BAD: Case("create ac/me {new}", 2, "ORG: must be 1 to 128 letters", INVALID),
            **over_the_queue("create acme {new}"),
        },
        {NOTHING: "it begins what is not there"},
    ),
    "delete": Row(
        "delete acme {agent} --yes",
        "org_id agent_id deleted",
        {
            NOTHING: Case("delete acme {new} --yes", **NO_MEMORY),
            BAD: Case("delete acme --yes", 2, "Missing argument 'AGENT'", "UsageError"),
            **over_the_queue("delete acme {agent} --yes"),
        },
        {CONFLICT: "it takes no precondition"},
    ),
    "diff": Row(
        "diff acme {agent} main~1",
        "base_sha target_sha files",
        {
            NOTHING: Case(
                "diff acme {agent} main~9", 3, "'main~9' goes past the first commit", "RefNotFoundError"
            ),
            BAD: Case("diff acme {agent} main^", 2, "BASE: must be HEAD, a branch", INVALID),
            **over_the_queue("diff acme {agent} main~1"),
        },
        {CONFLICT: READS},
    ),
    "fork": Row(
        "fork acme {agent} {new}-forked",
        RESULT_KEYS,
        {
            NOTHING: Case("fork acme {new} {new}-other", **NO_MEMORY),
            CONFLICT: Case(
                "fork acme {new} {agent}", 4, "{agent} has a memory already: fork into", "RepoExistsError"
            ),
            BAD: Case("fork acme {agent} {agent}", 2, "NEW_AGENT: is the memory that is forked", INVALID),
            **over_the_queue("fork acme other {agent}"),
        },
    ),
    "origins": Row(
        "origins acme {fork}",
        "org_id agent_id sha at",
        {
            NOTHING: Case("origins acme {new}", **NO_MEMORY),
            BAD: Case("origins ac/me {agent}", 2, "ORG: must be 1 to 128 letters", INVALID),
            **over_the_queue("origins acme {agent}"),
        },
        {CONFLICT: READS},
    ),
    "head": Row(
        "head acme {agent}",
        "",
        {
            NOTHING: Case("head acme {agent} nope", 3, "there is no branch 'nope'", "RefNotFoundError"),
            BAD: Case("head acme {agent} a..b", 2, "BRANCH: is not a branch name", INVALID),
            **over_the_queue("head acme {agent}"),
        },
        {CONFLICT: READS},
        text=True,
    ),
    "job": Row(
        "job {job}",
        "id status reason since served result",
        {
            NOTHING: Case("job 00000000-unknown", 3, "There is no record of job", "ResultExpiredError"),
            CONFLICT: Case("job {failed}", 4, "has a memory already", "RepoExistsError"),
            BAD: Case("job short", 2, "JOB_ID: must be 8 to 64 letters", INVALID),
            PASSWORD: Case("job {job}", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("job {job}", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
        },
        {STORE: OF_THE_BROKER_ALONE},
    ),
    "log": Row(
        "log acme {agent}",
        COMMIT_KEYS,
        {
            NOTHING: Case("log acme {agent} --ref 0000000", 3, "'0000000' is no branch", "RefNotFoundError"),
            BAD: Case("log acme {agent} --limit 0", 2, "Invalid value for '-n' / '--limit'", "UsageError"),
            **over_the_queue("log acme {agent}"),
        },
        {CONFLICT: READS},
    ),
    "show": Row(
        "show acme {agent} main~1",
        COMMIT_KEYS,
        {
            NOTHING: Case("show acme {agent} main~9", 3, "'main~9' goes past", "RefNotFoundError"),
            BAD: Case("show acme {agent} main^", 2, "REF: must be HEAD, a branch", INVALID),
            **over_the_queue("show acme {agent}"),
        },
        {CONFLICT: READS},
    ),
    "watch": Row(
        "watch acme {agent} --no-follow",
        "seq ref old new commits request_ids at resume_after",
        {
            BAD: Case("watch acme {agent} --after -1", 2, "Invalid value for '--after'", "UsageError"),
            **over_the_queue("watch acme {agent}"),
        },
        {CONFLICT: READS, NOTHING: "a memory that was never begun has no changes"},
    ),
    "search": Row(
        "search acme {agent} likes --context 1",
        "path line text before after limit_reached",
        {
            NOTHING: Case("search acme {new} tea", **NO_MEMORY),
            BAD: Case(
                "search acme {agent} (x --regex",
                2,
                "PATTERN: is no regular expression that RE2 knows",
                INVALID,
            ),
            **over_the_queue("search acme {agent} tea"),
        },
        {CONFLICT: READS},
    ),
    "tags": Row(
        "tags acme {agent} --create v1",
        "name ref sha",
        {
            NOTHING: Case("tags acme {new}", **NO_MEMORY),
            BAD: Case("tags acme {agent} --create a..b", 2, "--create: is not a tag name", INVALID),
            **over_the_queue("tags acme {agent}"),
        },
        {CONFLICT: "only of one that is there elsewhere, which the page shows"},
    ),
    "ls": Row(
        "ls acme {agent}",
        "path sha size executable",
        {
            NOTHING: Case("ls acme {new}", **NO_MEMORY),
            BAD: Case("ls acme {agent} --no-such-option", 2, "No such option", "UsageError"),
            **over_the_queue("ls acme {agent}"),
        },
        {CONFLICT: READS},
    ),
    "merge": Row(
        "merge acme {agent} main",
        "sha kind parents files_changed",
        {
            NOTHING: Case("merge acme {agent} nowhere", 3, "'nowhere' is no branch", "RefNotFoundError"),
            CONFLICT: Case(
                "merge acme {agent} main --expected-head {sha}", 4, "not at {sha}", "HeadMovedError"
            ),
            BAD: Case(
                "merge acme {agent} main --squash --fast-forward only",
                2,
                "--fast-forward: goes with",
                INVALID,
            ),
            **over_the_queue("merge acme {agent} main"),
        },
    ),
    "restore": Row(
        "restore acme {agent} main~1",
        RESULT_KEYS,
        {
            NOTHING: Case(
                "restore acme {agent} main nowhere", 3, "'nowhere' is neither here", "PathNotFoundError"
            ),
            BAD: Case("restore acme {agent} main --author nobody", 2, "NAME <EMAIL>", "UsageError"),
            CONFLICT: Case(
                "restore acme {agent} main~1 --expected-head {sha}", 4, "not at {sha}", "HeadMovedError"
            ),
            **over_the_queue("restore acme {agent} main"),
        },
    ),
}

OF_VERSIONS = {
    "MEMREPO_STORE_URL": "{versioned}",
    "MEMREPO_BROKER_URL": "redis://127.0.0.1:1/0",
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
}
NOT_A_STORE = {"MEMREPO_STORE_URL": "ftp://x"}

WORKER: Mapping[str, Row] = {
    "cells": Row(
        "cells",
        "cell address lists workers requests",
        {
            BAD: Case("cells --accept --settle", 2, "give one of them", "UsageError"),
            CONFLICT: Case(
                "cells --accept",
                2,
                "MEMREPO_CELLS: ",
                INVALID,
                {"MEMREPO_CELLS": "a=redis://h/0 a=redis://h/0"},
            ),
            PASSWORD: Case("cells", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("cells", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
        },
        {NOTHING: "one broker is an answer", STORE: OF_THE_BROKER_ALONE},
    ),
    "doctor": Row(
        "doctor",
        "check ok level found",
        {
            BAD: Case("doctor", 2, "no store at 'ftp'", "", NOT_A_STORE),
            PASSWORD: Case("doctor", 5, ONE_LINE_WRONG_PASSWORD, ""),
            BROKER: Case("doctor", 5, NOBODY_LISTENS, ""),
            STORE: Case("doctor", 5, "connection refused (ECONNREFUSED)", ""),
        },
        dict.fromkeys((NOTHING, CONFLICT), "it asks of no memory"),
    ),
    "replay": Row(
        "replay {repository} --agent {new}",
        "agent head commits requests seconds without_commit side_commits left_out left_out_files same_tree "
        "same_but_for_spelling same_files "
        "first_different equal commits_per_s",
        {
            CONFLICT: Case(
                "replay {repository} --org acme --agent {agent}", 4, "memory already", "RepoExistsError"
            ),
            BAD: Case("replay {folder}/nowhere", 2, "does not exist", "UsageError"),
            PASSWORD: Case("replay {repository}", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("replay {repository}", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
        },
        {
            NOTHING: "it begins what is not there",
            STORE: "it waits for the worker, with a bar that stands still",
        },
    ),
    "shards": Row(
        "shards",
        "shard queue owner waiting in_flight oldest_waiting_s oldest_in_flight_s lease_left_s trouble",
        {
            BAD: Case("shards", 2, "MEMREPO_SHARDS", INVALID, {"MEMREPO_SHARDS": "many"}),
            PASSWORD: Case("shards", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("shards", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
        },
        {NOTHING: "no worker is an answer", CONFLICT: READS, STORE: OF_THE_BROKER_ALONE},
    ),
    "store accept": Row(
        "store accept",
        "store url before",
        {
            CONFLICT: Case(
                "store accept",
                4,
                "still run: stop all workers first",
                "ConflictError",
                {"MEMREPO_STORE_URL": "file://{folder}/other"},
            ),
            BAD: Case("store accept", 2, "no store at 'ftp'", INVALID, NOT_A_STORE),
            PASSWORD: Case("store accept", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("store accept", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
            STORE: Case("store accept", 5, "connection refused (ECONNREFUSED)", "StoreUnavailableError"),
        },
        {NOTHING: "a store without an identity is given one"},
    ),
    "store adopt": Row(
        "store adopt acme {legacy}",
        "org_id agent_id commits branches bytes_read recovered already refused_names files_removed",
        {
            NOTHING: Case(
                "store adopt acme {new}", 3, "{new} has no repository in the layout", "RepoNotFoundError"
            ),
            BAD: Case("store adopt", 2, "Name ORG and AGENT, or give --all", "UsageError"),
            **at_the_store("store adopt acme {new}"),
        },
        {CONFLICT: "what was adopted before is told, and no error", BROKER: OF_THE_STORE_ALONE},
    ),
    "store du": Row(
        "store du acme {agent}",
        "org_id agent_id agents entries markers segments bases reservations indexes old_files foreign bytes foldable "
        "foreign_names",
        {
            NOTHING: Case(
                "store du acme {new}", 3, "acme/{new} has no object in the store", "RepoNotFoundError"
            ),
            BAD: Case("store du ac/me", 2, "ORG: must be 1 to 128 letters", "UsageError"),
            **at_the_store("store du acme {new}"),
        },
        {CONFLICT: READS, BROKER: OF_THE_STORE_ALONE},
    ),
    "store export": Row(
        "store export acme {agent} {folder}/out.bundle",
        "org_id agent_id file bytes",
        {
            NOTHING: Case("store export acme {new} {folder}/out.bundle", **NO_MEMORY),
            CONFLICT: Case("store export acme {agent} {bundle}", 4, "is there already", "ConflictError"),
            BAD: Case("store export acme {agent} {folder}", 2, "is a directory", "UsageError"),
            **at_the_store("store export acme {new} {folder}/out.bundle"),
        },
        {BROKER: OF_THE_STORE_ALONE},
    ),
    "store fold": Row(
        "store fold acme {agent}",
        "org_id agent_id entries folded made bytes_written removed",
        {
            NOTHING: Case("store fold acme {new}", **NO_MEMORY),
            BAD: Case("store fold ac/me {agent}", 2, "ORG: must be 1 to 128 letters", "UsageError"),
            **at_the_store("store fold acme {new}"),
        },
        {CONFLICT: "two that fold one memory make the same", BROKER: OF_THE_STORE_ALONE},
    ),
    "store import": Row(
        "store import acme {new} {bundle}",
        "org_id agent_id commits refused_names",
        {
            NOTHING: Case("store import acme {new} {folder}/nowhere", 2, "does not exist", "UsageError"),
            CONFLICT: Case(
                "store import acme {agent} {bundle}", 4, "has a memory already", "RepoExistsError"
            ),
            BAD: Case("store import acme {new} /dev/null", 2, "file: is not a bundle", INVALID),
            **at_the_store("store import acme {new} {bundle}"),
        },
        {BROKER: OF_THE_STORE_ALONE},
    ),
    "store purge": Row(
        "store purge acme {deleted} --yes",
        "org_id agent_id versions bytes delete_markers dry_run",
        {
            NOTHING: Case(
                "store purge acme {new} --yes",
                3,
                "{new}: no delete_repo was finished there",
                "RepoNotFoundError",
                OF_VERSIONS,
            ),
            CONFLICT: Case("store purge acme {agent} --yes", 4, "keeps no versions", "ConflictError"),
            BAD: Case("store purge ac/me {agent} --yes", 2, "ORG: must be 1 to 128 letters", "UsageError"),
            **at_the_store("store purge acme {new} --yes"),
        },
        {BROKER: OF_THE_STORE_ALONE},
        env=OF_VERSIONS,
    ),
    "store verify": Row(
        "store verify acme {agent}",
        "org_id agent_id entries commits sound damage foreign",
        {
            NOTHING: Case("store verify acme {new}", **NO_MEMORY),
            BAD: Case("store verify ac/me {agent}", 2, "ORG: must be 1 to 128 letters", "UsageError"),
            **at_the_store("store verify acme {new}"),
        },
        {CONFLICT: READS, BROKER: OF_THE_STORE_ALONE},
    ),
    "flower": Row(
        "flower --port 0",
        None,
        {
            CONFLICT: Case("flower --port {taken}", 4, "port {taken} cannot be used", "ConflictError"),
            BAD: Case("flower -- --no-such-option", 2, "does not know: --no-such-option", INVALID),
            PASSWORD: Case("flower", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("flower", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
        },
        {NOTHING: "no worker is an answer", STORE: OF_THE_BROKER_ALONE},
    ),
    "up": Row(
        "up --port 0",
        "broker_url cells store_url cache_dir flower_url flower_auth pids env",
        {
            CONFLICT: Case(
                "up --port 0",
                4,
                "port {taken} cannot be used",
                "ConflictError",
                {"MEMREPO_FLOWER_PORT": "{taken}"},
            ),
            BAD: Case("up --port 0", 2, "no store at 'ftp'", INVALID, NOT_A_STORE),
            PASSWORD: Case("up", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("up", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
            STORE: Case("up --port 0", 5, "connection refused (ECONNREFUSED)", "StoreUnavailableError"),
        },
        {NOTHING: "it asks of no memory"},
    ),
    "worker": Row(
        "worker",
        None,
        {
            BAD: Case("worker", 2, "no store at 'ftp'", INVALID, NOT_A_STORE),
            PASSWORD: Case("worker", 5, ONE_LINE_WRONG_PASSWORD, "BrokerUnavailableError"),
            BROKER: Case("worker", 5, NOBODY_LISTENS, "BrokerUnavailableError"),
            STORE: Case("worker", 5, "connection refused (ECONNREFUSED)", "StoreUnavailableError"),
        },
        dict.fromkeys((NOTHING, CONFLICT), "it asks of no memory"),
    ),
}

TABLE: Mapping[str, Row] = {**PRODUCER, **WORKER}
"""Every command by its name."""
