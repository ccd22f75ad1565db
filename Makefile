# Everything a developer or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# npm writes this file at the end of an installation.
INSTALLED := frontend/node_modules/.package-lock.json
# The services that `make bench` compares with have their own environment.
PEERS := bench/.venv
PEERS_INSTALLED := bench/peers/node_modules/.package-lock.json
# The programs that check the files for deployment need other versions of packages than the service.
LINT := deploy/.venv/bin
# The one source of the version.
VERSION := $(shell sed -n 's/^VERSION = "\(.*\)"$$/\1/p' taskapi/config/settings.py)
# docker or, with the same arguments, podman.
BUILDER ?= docker
# Without npm the frontend is not checked: that is reported, and in CI it is a failure.
LEFT_OUT := echo "npm is not installed: the frontend was not checked" >&2; test -z "$$CI"

# Tests of other programs or of separate server processes: coverage cannot trace them.
NOT_TRACED := tests/e2e tests/faults tests/security tests/server/test_gunicorn.py tests/telemetry/test_metrics_server.py tests/test_schemathesis.py

# pytest compiles and rewrites each test module again where Python may not write its cache: 3 s in each process.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run app test chaos test-citus coverage bench neighbours check check-service check-frontend check-deploy deploy-check format types \
  screenshots lock audit version images secrets sbom clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## install, migrate the SQLite database and serve with `flask run`
	@$(BIN)/flask db upgrade
	@echo "Paste this into another terminal. The token is for the user alice and for this development server only:"
	@$(BIN)/flask token alice --curl
	@$(BIN)/flask run

app: SHELL := /bin/bash  # sh has no wait -n
app: $(VENV)/.installed $(INSTALLED)  ## install, and serve API and frontend together with matching development settings
	@$(BIN)/flask db upgrade
	@echo "Open http://localhost:3000 and sign up with any e-mail address; Ctrl-C stops both."
	@set -a; . ./.flaskenv; set +a; trap 'kill 0' EXIT; trap 'exit 0' INT TERM; \
	JWT_ISSUER=http://localhost:3000 JWT_AUDIENCE=http://localhost:3000 JWT_MAX_LIFETIME=7d $(BIN)/flask run & \
	(cd frontend && NEXT_TELEMETRY_DISABLED=1 BETTER_AUTH_URL=http://localhost:3000 API_URL=http://localhost:8000 \
	API_INTERNAL_URL=http://127.0.0.1:8000 npm run dev -- -p 3000) & \
	wait -n; echo "API or frontend has stopped: stopping the other." >&2; exit 1

test: $(VENV)/.installed-dev  ## install and run all tests in parallel (ARGS=…: only these), on SQLite and PostgreSQL
	@# PostgreSQL is started for the run unless TEST_DATABASE_URL names a server. tests/conftest.py says what runs where.
	$(BIN)/pytest $(or $(ARGS),-rs --numprocesses=auto)

chaos: $(VENV)/.installed-dev  ## kill, freeze, fill and slow down workers, databases, disk and clients (over 19 minutes)
	@# The file is not named test_*.py, so `make test` does not collect it. The measured figures are printed at the end.
	$(BIN)/pytest -rP tests/chaos/long_runs.py

test-citus: $(VENV)/.installed-dev  ## run the tests on a Citus cluster: CITUS_URL=postgresql://SUPERUSER@COORDINATOR/postgres (skipped without)
	CITUS_URL="$(CITUS_URL)" $(BIN)/pytest -rsP tests/citus $(ARGS)

bench: $(VENV)/.installed-dev $(PEERS)/.installed $(PEERS_INSTALLED)  ## measure the service, minimal services and comparable services (half an hour; ARGS=--quick: a part)
	$(BIN)/python -m bench $(ARGS)
	$(BIN)/python -m bench.bulk

neighbours: $(VENV)/.installed-dev  ## measure how other users are served while one user repeats large requests (16 minutes; ARGS=--help: a part)
	$(BIN)/python -m bench.neighbours --write $(ARGS)

coverage: $(VENV)/.installed-dev  ## report the branches that the tests on SQLite cover
	$(BIN)/coverage run -m pytest $(patsubst %,--ignore=%,$(NOT_TRACED)) -k "not postgresql"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

check: check-service check-frontend check-deploy  ## check lint rules, formatting, types, imports, the files for deployment, and that the frontend's types match the OpenAPI document

check-service: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-frontend: $(VENV)/.installed-dev $(if $(shell command -v npm),$(INSTALLED))
	@if command -v npm > /dev/null; then cd frontend && npx next typegen && \
	npm run types && npm run lint && \
	(../$(BIN)/flask --app ../wsgi openapi | npx openapi-typescript | diff src/api/schema.d.ts - || \
	{ echo "src/api/schema.d.ts does not match /openapi.json: run make types" >&2; exit 1; }); \
	else $(LEFT_OUT); fi

check-deploy: deploy/.venv/.installed
	$(LINT)/yamllint --strict compose.yaml deploy .github
	$(LINT)/hadolint Dockerfile frontend/Dockerfile
	$(LINT)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	$(LINT)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(LINT)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(LINT)/zizmor --quiet --offline --persona pedantic .github
	LINT=$(LINT) sh deploy/check-manifests.sh

deploy-check: $(VENV)/.installed-dev  ## build both images with buildah, run them as in production and call them (needs root, buildah, debootstrap)
	@# The file is not named test_*.py, so `make test` does not collect it.
	$(BIN)/pytest -rsP tests/deploy/images.py

screenshots: $(VENV)/.installed-dev  ## take the screenshots of the documentation
	SCREENSHOTS=docs/screenshots $(BIN)/pytest -q tests/e2e/test_pages.py -k task_page

types: $(VENV)/.installed-dev $(INSTALLED)  ## generate the frontend's types from the OpenAPI document
	$(BIN)/flask openapi | (cd frontend && npx openapi-typescript -o src/api/schema.d.ts)

format: $(VENV)/.installed-dev  ## format the code and apply automatic fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if command -v npm > /dev/null; then $(MAKE) --no-print-directory $(INSTALLED) && cd frontend && npm run format; fi

lock: $(VENV)/.installed-dev  ## pin the newest versions that the .in files allow, with hashes
	$(BIN)/pip install --quiet uv
	for name in requirements requirements-otel requirements-dev deploy/requirements; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header $$name.in --output-file $$name.txt; \
	done

version:  ## print the version, which taskapi/config/settings.py has
	@echo $(VERSION)

images:  ## build both images (BUILDER=podman: not with docker)
	$(BUILDER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) -t taskapi:$(VERSION) .
	$(BUILDER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) -t taskapi-frontend:$(VERSION) frontend

secrets:  ## generate the secrets that compose.yaml reads, once
	@deploy/generate-secrets.sh

sbom: deploy/.venv/.installed  ## write the bill of materials of both images into sbom/ (CycloneDX)
	mkdir -p sbom
	$(LINT)/cyclonedx-py requirements --output-reproducible --outfile sbom/taskapi-$(VERSION).cdx.json requirements.txt
	cd frontend && npm sbom --sbom-format=cyclonedx --omit=dev --package-lock-only > ../sbom/taskapi-frontend-$(VERSION).cdx.json

audit: $(VENV)/.installed-dev  ## look up known vulnerabilities of the pinned packages (needs the internet)
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.txt -r requirements-otel.txt
	cd frontend && npm audit --omit=dev

clean:  ## remove all generated files, including the development database
	rm -rf frontend/node_modules frontend/.next frontend/data
	rm -rf $(VENV) $(PEERS) deploy/.venv sbom bench/peers/node_modules instance .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

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

deploy/.venv/.installed: deploy/requirements.txt
	$(PYTHON) -m venv deploy/.venv
	$(LINT)/pip install --quiet --disable-pip-version-check --require-hashes -r deploy/requirements.txt
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
