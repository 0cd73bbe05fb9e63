# Rendio's commands. `make` alone lists them. GNU make 3.81 and later.
# PORT, EVENTS_PORT, SANDBOX_PORT, FLOWER_PORT, RENDIO_HOME, JOURNEY, DATABASE_URL and REDIS_URL go through to `run`.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Stamps, newer than the lock that is installed: what `make run` needs, and what development needs.
LOCAL := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev

# Without the compiled modules each process compiles all of them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run manage test bench chaos outages screenshots check format messages lock clean

help:  ## List these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

run: $(LOCAL)  ## Start everything on this machine, show one customer's journey, serve until Ctrl-C
	@$(BIN)/python -m rendio.local run

manage: $(LOCAL)  ## Run a manage.py command on the servers of a running make run (ARGS="prove_ledger")
	@$(BIN)/python -m rendio.local manage $(ARGS)

test: $(DEV)  ## Run the tests on servers of their own (ARGS="tests/credits -k refund")
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

bench: $(DEV)  ## Measure calls, jobs and growth on servers of its own, compare with the record (ARGS="--seconds 20")
	@$(BIN)/python -m bench $(ARGS)

chaos: $(DEV)  ## Kill, flush and break everything while 200 jobs run; nothing may be lost (ARGS="--seed 7")
	@$(BIN)/python -m bench.chaos $(ARGS)

outages: $(DEV)  ## Send 50 calls a second while PostgreSQL and Valkey restart and hang (ARGS="--hang 10")
	@$(BIN)/python -m bench.outages $(ARGS)

screenshots: $(DEV)  ## Take screenshots of the admin and the playground with this machine's Chromium, into docs/img
	@SCREENSHOTS=docs/img $(BIN)/python -m pytest -n 0 tests/browser/test_working_day.py tests/browser/test_playground.py

check: $(DEV)  ## Check format, lint, types, imports, migrations, the API's description, secrets and advisories
	@failed=; \
	result() { if [ "$$2" = 0 ]; then echo "ok      $$1"; else echo "FAILED  $$1"; failed=1; fi; }; \
	$(BIN)/ruff format --check --quiet .; result "format (make format mends it)" $$?; \
	$(BIN)/ruff check --quiet .; result "lint" $$?; \
	$(BIN)/mypy --no-error-summary; result "types" $$?; \
	$(BIN)/lint-imports --no-logo; result "imports" $$?; \
	ENVIRONMENT=development DATABASE_URL=postgresql://nobody@127.0.0.1:1/none \
	    $(BIN)/python -W 'ignore:Got an error checking a consistent migration history' \
	    manage.py makemigrations --check --dry-run; result "migrations" $$?; \
	ENVIRONMENT=development DATABASE_URL=postgresql://nobody@127.0.0.1:1/none \
	    $(BIN)/python manage.py spectacular --fail-on-warn --validate --file /dev/null; result "openapi" $$?; \
	$(BIN)/python .ci/audit.py; result "secrets and advisories" $$?; \
	$(BIN)/python -m pytest -n 0 tests/ops/test_migration_lint.py; result "migrations beside the release before" $$?; \
	[ -z "$$failed" ]

format: $(DEV)  ## Format the code and apply ruff's fixes
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

messages: $(DEV)  ## Extract the customers' messages into locale/, and compile the translations
	@$(BIN)/pybabel --quiet extract --mapping=pyproject.toml --keywords=gettext_lazy \
	    --keywords=ngettext_lazy:1,2 --no-location --sort-output --project=Rendio \
	    --output=$(VENV)/messages.pot accounts billing credits generation rendio
	@$(BIN)/pybabel --quiet update --domain=django --input-file=$(VENV)/messages.pot \
	    --output-dir=locale --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width=100
	@$(BIN)/pybabel --quiet compile --domain=django --directory=locale

lock: $(LOCAL)  ## Resolve requirements*.in into lock files with hashes
	@compile="$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes"; \
	$$compile requirements-uv.in -o requirements-uv.txt && \
	$$compile requirements.in -o requirements.txt && \
	$$compile requirements-local.in -c requirements.txt -o requirements-local.txt && \
	$$compile requirements-dev.in -c requirements-local.txt -o requirements-dev.txt

clean:  ## Delete the caches of the tools; data (.rendio) and .venv stay
	@rm -rf .audit_cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis staticfiles
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(LOCAL): requirements-uv.txt requirements-local.txt
	@command -v $(PYTHON) >/dev/null || { \
	    echo "Rendio needs Python 3.11 or later; there is no $(PYTHON) here." \
	         "Name another: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Rendio needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Name another: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "$(PYTHON) has no venv or ensurepip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	    || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked requirements into $(VENV) ..."
	@$(BIN)/python -I rendio/local/install.py requirements-uv.txt requirements-local.txt
	@touch $@

$(DEV): $(LOCAL) requirements-dev.txt
	@echo "Installing what tests and checks need into $(VENV) ..."
	@$(BIN)/python -I rendio/local/install.py requirements-uv.txt requirements-dev.txt
	@touch $@
