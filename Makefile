.PHONY: demo demo-network test check bench engines lock artifacts clean

PY := .venv/bin/python
RUN := .venv/run.stamp
DEV := .venv/dev.stamp
# merkletools is a source archive: it is built with the setuptools of the lock file. pip check misses its pysha3, which is not needed.
# It installs its tests as a package `tests`, which would hide this checkout's.
CHAINPOINT := $(PY) -m pip install -q --require-hashes --no-deps --no-build-isolation -r requirements-chainpoint.txt && \
	rm -rf .venv/lib/python3*/site-packages/tests

$(RUN): requirements.txt requirements-chainpoint.txt pyproject.toml
	test -x $(PY) || python3 -m venv .venv
	$(PY) -m pip install -q --require-hashes --no-deps -r requirements.txt
	$(CHAINPOINT)
	$(PY) -m pip install -q --no-deps --no-build-isolation -e .
	touch $@

$(DEV): requirements-dev.txt requirements-chainpoint.txt pyproject.toml
	test -x $(PY) || python3 -m venv .venv
	$(PY) -m pip install -q --require-hashes --no-deps -r requirements-dev.txt
	$(CHAINPOINT)
	$(PY) -m pip install -q --no-deps --no-build-isolation -e .
	touch $(DEV) $(RUN)

demo: $(RUN)
	$(PY) -m api.cli demo

demo-network: $(RUN)
	PATH="$$PATH:$$(go env GOPATH 2>/dev/null)/bin"; export PATH; command -v geth >/dev/null || $(MAKE) engines; \
	$(PY) -m api.cli demo --network --folder demo-network

test: $(DEV)
	$(PY) -m pytest -n 2 --dist loadfile

check: $(DEV)
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/vulture
	$(PY) -m contracts.compile --check
	$(PY) -m anchoring.page --check

bench: $(DEV)
	$(PY) -m bench

# The last geth with Clique. Its memory profiler links to names that Go 1.23 and later hide without the flag.
engines:
	go install -ldflags=-checklinkname=0 github.com/ethereum/go-ethereum/cmd/geth@v1.13.15

lock:
	uv pip compile -q --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --all-extras pyproject.toml -o requirements-dev.txt
	uv pip compile -q --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --extra install -c requirements-dev.txt pyproject.toml -o requirements.txt
	uv pip compile -q --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --no-deps --group pyproject.toml:chainpoint -o requirements-chainpoint.txt

artifacts: $(DEV)
	$(PY) -m contracts.compile
	$(PY) -m anchoring.page

clean:
	rm -rf .venv demo-homes demo-network build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
