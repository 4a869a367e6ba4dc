# memrepo's house-keeping. `make demo` and `make test` need Python 3.11 or newer, git, make, and nothing else.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed-from

# Installed means: in this folder, by this Python, from this lock and this project file.
FINGERPRINT = { pwd; $(PYTHON) -VV; cat requirements.lock pyproject.toml; } | cksum

# Hundreds of processes import the same modules: what is compiled is kept, also where the shell says otherwise.
export PYTHONDONTWRITEBYTECODE :=

CHECKS = check-format check-lint check-types check-walls check-addresses

.DEFAULT_GOAL := help
.PHONY: help install install-now check $(CHECKS) fix test test-faults test-quick test-root test-redis test-system fuzz fresh-venv fresh demo metrics bench soak lock

QUICK_TESTS = tests/test_architecture.py tests/unit tests/git tests/documents tests/functional

# What goes wrong for minutes, or in hundreds of ways: pyproject.toml leaves these folders out of `make test`.
FAULT_TESTS = $(wildcard tests/soak tests/damage tests/fuzz tests/faults)

# What depends on which server is the broker.
REDIS_TESTS = $(addprefix tests/queues/test_, a_full_broker_drains.py after_a_failover_everybody_moves.py \
  shards_have_one_owner.py the_rights_that_are_asked_for.py what_a_server_goes_through_loses_nothing.py \
  a_worker_that_may_not_serve_leaves_it_to_others.py large_bodies.py) \
  tests/system/test_the_documented_users_have_the_rights_they_need.py tests/faults/test_sentinels_that_ask_for_a_login.py \
  tests/producer/test_how_sure_enqueued_is.py

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1  /p' Makefile

install:  ## set up .venv from the lock; does nothing when that is done already
	@if [ "$$($(FINGERPRINT))" = "$$(cat $(STAMP) 2>/dev/null)" ]; \
	then echo "Already installed in .venv: the lock and pyproject.toml are unchanged."; \
	else $(MAKE) --no-print-directory install-now; fi

install-now:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "memrepo needs Python 3.11 or newer.")'
	@git --version >/dev/null 2>&1 || { echo "memrepo needs git." >&2; exit 1; }
	@rm -f $(STAMP)
	@# An environment that was moved here from another folder still points there: begin again.
	@[ "$$(cat .venv/place 2>/dev/null)" = "$$(pwd)" ] || rm -rf .venv
	$(PYTHON) -m venv .venv
	@pwd > .venv/place
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(FINGERPRINT) > $(STAMP)

check: install  ## format, lint, types, walls, addresses; each runs, also after one has failed
	@$(MAKE) --no-print-directory --keep-going $(CHECKS)

check-format:
	$(BIN)/ruff format --check .

check-lint:
	$(BIN)/ruff check .

check-types:
	$(BIN)/mypy

check-walls:
	$(BIN)/lint-imports

check-addresses:
	@# Written so that this line does not find itself.
	@if git grep -nIE 'p[y]pi\.org|p[y]thonhosted|(extra-)?index-[u]rl|(^|[^A-Za-z0-9_.])/([w]ork|[r]oot|[t]mp)/[A-Za-z0-9_.]' \
	  -- . ':!docs/*.svg'; then \
	echo "The lines above hold a package server's address or a path of one machine." >&2; exit 1; fi

fix: install  ## mend what tools can: lint and format; what is left is said
	$(BIN)/ruff check --fix . ; lint=$$? ; $(BIN)/ruff format . && exit $$lint

test: install  ## run the tests, a file at a time in each of three processes (LONG=1 for the long forms)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-faults: install  ## soaks, damage, kills and foreign bytes, in a short form (LONG=1 for the long ones)
	$(BIN)/python -m pytest $(FAULT_TESTS) --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-quick: install  ## the tests that need no server, in under a minute
	$(BIN)/python -m pytest $(QUICK_TESTS) -k "not functional or inline" --numprocesses 3 --dist loadfile

fuzz: install  ## 100,000 inputs for each decoder of what others may have written (INPUTS=1000 for fewer)
	-$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement tests/fuzz/requirements.txt
	$(BIN)/python -m tests.fuzz $(INPUTS)

test-root: install  ## root: the tests that need it, such as of a small disk
	$(BIN)/python -m pytest tests/root

test-redis: install  ## root, Debian: the tests of the broker, on the Redis that Debian has
	server=$$($(BIN)/python -m tests.root.debian_redis) && \
	MEMREPO_TEST_SERVER=$$server $(BIN)/python -m pytest $(REDIS_TESTS) --numprocesses 3 --dist loadfile

test-system: install  ## root, Debian: Flower in a browser; compose file, Kubernetes, Prometheus and dashboard, by the tools that read them
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement tests/deployment/requirements.txt
	$(BIN)/python -m pytest tests/deployment

fresh-venv: install  ## build the packages; try the wheel in new environments, with newest and lowest versions
	$(BIN)/python -m pytest tests/fresh

fresh: install  ## root, Debian: the README on new Debians, then the Dockerfile (QUICK=1: one, and its quick tests)
	$(BIN)/python -m pytest tests/fresh/debian

demo: install  ## the main job, end to end, on this machine, in under a minute
	$(BIN)/python examples/demo.py

metrics: install  ## print sizes, suppressions and docstrings of the packages, with their bounds
	@$(BIN)/python -m tests.test_architecture

END_TO_END = tests/functional tests/producer/test_on_the_whole_system.py tests/queues/test_requests_run_in_order.py \
  tests/faults/test_remote_control_harms_no_request.py

test-hosts: install  ## the end-to-end tests inside a host with a Celery of its own, under each of its settings (long)
	set -e; $(BIN)/python -m tests.support.host | while read -r case; do \
		echo "the host has set: $$case"; HOST_SAYS="$$case" $(BIN)/python -m pytest -n 2 $(END_TO_END) < /dev/null; done

bench: install  ## measure, as ratios (ROWS=commit,read for some; LONG=1 for the long forms)
	$(BIN)/python -m benchmarks $(if $(ROWS),--rows $(ROWS))

soak: install  ## the long soak
	LONG=1 $(BIN)/python -m pytest tests/soak

lock:  ## resolve the dependencies anew; the lock holds hashes and no address
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --no-annotate \
	  --all-extras --upgrade -o requirements.lock
