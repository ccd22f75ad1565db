# Everything a developer or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# npm writes this file when it has installed.
INSTALLED := frontend/node_modules/.package-lock.json
# What the service is measured against has an environment of its own.
PEERS := bench/.venv
PEERS_INSTALLED := bench/peers/node_modules/.package-lock.json
# Nobody must believe that something was tested which was not; in CI it is a failure.
LEFT_OUT := echo "npm is not installed: the frontend was left out" >&2; test -z "$$CI"

# Rows of tests that run beside the others: each mostly waits, for a browser or for a server.
BROWSER := tests/e2e
SERVERS := tests/faults tests/security tests/server/test_gunicorn.py tests/test_schemathesis.py
# These go with them, so that the rows are of one length.
BESIDE := tests/database/test_unit_of_work.py tests/database/test_row_security.py tests/guard/test_rate_limit.py tests/database/test_migrations.py tests/operations/test_health.py tests/idempotency

.DEFAULT_GOAL := help
.PHONY: help run app test chaos coverage bench check check-service check-frontend format types screenshots lock audit clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## set up, migrate an embedded SQLite database and serve with `flask run`
	@$(BIN)/flask db upgrade
	@echo "Paste this into another terminal; the token is alice's and works with this development server only:"
	@$(BIN)/flask token alice --curl
	@$(BIN)/flask run

app: SHELL := /bin/bash  # sh has no wait -n
app: $(VENV)/.installed $(INSTALLED)  ## set up, and serve API and frontend together, with matching development settings
	@$(BIN)/flask db upgrade
	@echo "Open http://localhost:3000 and sign up with any e-mail address; Ctrl-C ends both."
	@set -a; . ./.flaskenv; set +a; trap 'kill 0' EXIT; trap 'exit 0' INT TERM; \
	JWT_ISSUER=http://localhost:3000 JWT_AUDIENCE=http://localhost:3000 JWT_MAX_LIFETIME=7d $(BIN)/flask run & \
	(cd frontend && NEXT_TELEMETRY_DISABLED=1 BETTER_AUTH_URL=http://localhost:3000 API_URL=http://localhost:8000 \
	API_INTERNAL_URL=http://127.0.0.1:8000 npm run dev -- -p 3000) & \
	wait -n; echo "One of the two has ended, so both do." >&2; exit 1

test: $(VENV)/.installed-dev  ## set up and test, on SQLite and on a PostgreSQL started for it (or TEST_DATABASE_URL)
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	@# Three rows at a time; what the second and third printed comes last.
	@$(BIN)/pytest -rs $(BROWSER) > .browser.log 2>&1 & browser=$$!; \
	$(BIN)/pytest $(SERVERS) $(BESIDE) > .servers.log 2>&1 & servers=$$!; status=0; \
	$(BIN)/pytest $(patsubst %,--ignore=%,$(BROWSER) $(SERVERS) $(BESIDE)) || status=1; \
	wait $$servers || status=1; wait $$browser || status=1; \
	cat .servers.log .browser.log; exit $$status
endif

chaos: $(VENV)/.installed-dev  ## kill, freeze, fill and slow down what the service needs, for a quarter of an hour
	@# Not a test_*.py, so that nothing else collects it. The figures come last.
	$(BIN)/pytest -rP tests/chaos/minutes.py

bench: $(VENV)/.installed-dev $(PEERS)/.installed $(PEERS_INSTALLED)  ## measure it beside the floor and its peers (twenty minutes; ARGS=--quick: some)
	$(BIN)/python -m bench $(ARGS)

coverage: $(VENV)/.installed-dev  ## which branches the tests on SQLite run through; takes half as long again
	$(BIN)/coverage run -m pytest $(patsubst %,--ignore=%,$(BROWSER) $(SERVERS)) -k "not postgresql"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

check: check-service check-frontend  ## lint, formatting, types, import rules, and that the frontend's types are the API's

check-service: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-frontend: $(VENV)/.installed-dev $(if $(shell command -v npm),$(INSTALLED))
	@if command -v npm > /dev/null; then cd frontend && npx next typegen && \
	npm run types && npm run lint && \
	(../$(BIN)/flask --app ../wsgi openapi | npx openapi-typescript | diff src/api/schema.d.ts - || \
	{ echo "The types of the API are not those of /openapi.json: make types" >&2; exit 1; }); \
	else $(LEFT_OUT); fi

screenshots: $(VENV)/.installed-dev  ## take the pictures in docs anew
	SCREENSHOTS=docs/screenshots $(BIN)/pytest -q tests/e2e/test_pages.py -k task_page

types: $(VENV)/.installed-dev $(INSTALLED)  ## generate the frontend's types of the API anew
	$(BIN)/flask openapi | (cd frontend && npx openapi-typescript -o src/api/schema.d.ts)

format: $(VENV)/.installed-dev  ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory $(INSTALLED) && cd frontend && npm run format; fi

lock: $(VENV)/.installed-dev  ## pin the newest versions that the .in files allow, with hashes
	$(BIN)/pip install --quiet uv
	for name in requirements requirements-dev; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header $$name.in --output-file $$name.txt; \
	done

audit: $(VENV)/.installed-dev  ## ask the public databases for known weaknesses of what is pinned (needs the internet)
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.txt
	cd frontend && npm audit --omit=dev

clean:  ## remove what the targets made, the development database included
	rm -rf frontend/node_modules frontend/.next frontend/data
	rm -rf $(VENV) $(PEERS) bench/peers/node_modules instance .coverage* .browser.log .servers.log .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("taskapi needs Python 3.11 or newer: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: requirements.txt $(VENV)/.created
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.created
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(PEERS)/.installed: bench/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r bench/peers/requirements.txt
	@touch $@

$(PEERS_INSTALLED): bench/peers/package-lock.json
	cd bench/peers && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(INSTALLED): frontend/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 9) ? 0 : 1)' \
	|| { echo "the frontend needs Node.js 20.9 or newer" >&2; exit 1; }
	cd frontend && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
