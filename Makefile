# Each target does all it needs, on a machine with Python 3.11 or later and make: demo, test, and the others below.

PYTHON ?= python3
BIN := .venv/bin
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable chrome

.PHONY: install browser demo test bench train examples stored screenshots accuracy evidence lmms-check scale-check soak abuse-table mutation

# What the demo needs, and what the tests and the training need beside it. Made again when what is to be installed
# changes, and left alone otherwise.
install: .venv/installed
.venv/demo: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt -e .
	@touch $@
.venv/installed: .venv/demo
	$(BIN)/python -m pip install --quiet -e '.[test,train]'
	@touch $@

# The page is tested in a real browser: the one that is there, or Debian's, where this may install it.
browser:
	@for name in "$$CHROMIUM" $(BROWSERS); do command -v "$$name" >/dev/null 2>&1 && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "No Chromium was found; install it, or set CHROMIUM to its path." >&2; fi

demo: .venv/demo
	@$(BIN)/python app.py

# Files of tests are shared among processes, in the order of tests/conftest.py. There is one more than cores: tests in a
# browser mostly wait.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
test: install browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

bench: install
	$(BIN)/python -m benchmarks.selection
	$(BIN)/python -m benchmarks.bundled
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.latency --layers 1 --rounds 3
	$(BIN)/python -m benchmarks.end_to_end --layers 1

accuracy: install
	@for set in emoji-test emoji-style emoji-crowded easy-vqa; do \
		$(BIN)/python -m resprune evaluate --set $$set --keep 100% || exit 1; echo; done

# Methods compared on every set: SIZE=small is a check, full is meant to take two hours.
SIZE ?= full
evidence: install
	$(BIN)/python -m benchmarks.evidence --size $(SIZE)

# Training in its smallest size, stopped and gone on with, and exported: minutes on both cores.
.PHONY: train-check
train-check: install
	$(BIN)/python -m pytest tests/training -m slow

.PHONY: space-check container-check release-check audit lock

# An environment as a Space on ZeroGPU has it: Python 3.12 where there is one (PYTHON312=...), the newest torch that it allows.
PYTHON312 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python) $(shell command -v python3.12) $(PYTHON))
.venv-space/installed: requirements.txt
	$(PYTHON312) -m venv .venv-space
	.venv-space/bin/python -m pip install --quiet 'torch>=2.8,<2.12' 'torchvision>=0.23,<0.27'
	.venv-space/bin/python -m pip install --quiet -r requirements.txt spaces
	@touch $@

space-check: install .venv-space/installed
	$(BIN)/python -m checks.space --python .venv-space/bin/python
	.venv-space/bin/python -m checks.zerogpu

container-check: install
	$(BIN)/python -m checks.container --python $(BIN)/python

# The wheel in an environment that has nothing but what the wheel itself asks for.
release-check:
	rm -rf .venv-release build/release && $(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/release .
	.venv-release/bin/python -m pip install --quiet build/release/resprune-*.whl
	cd build/release && ../../.venv-release/bin/resprune answer ../../assets/examples/cake.png 'What animal is in the picture?'

# Known weaknesses of what is locked; needs a database that is asked over the network.
audit:
	$(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install --quiet pip-audit
	.venv-audit/bin/pip-audit --disable-pip -r requirements.lock

# The versions that the tests ran with, hashes and all: pip install -r requirements.lock. TESTED bounds what is chosen.
TESTED ?= torch==2.14.1 torchvision==0.29.1
lock:
	$(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install --quiet uv
	mkdir -p build && printf '%s\n' $(TESTED) > build/tested.txt
	.venv-audit/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command 'make lock' -c build/tested.txt requirements.txt -o requirements.lock

# The allocator keeps its memory: giving it back and asking again took a third of the time.
train: install
	MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=1073741824 \
		$(BIN)/torchrun --nproc-per-node 2 -m training.train --out build/training
	$(BIN)/python -m training.export --checkpoint build/training/language-336.pt

examples: install
	$(BIN)/python -m training.examples

# The answers that the page shows before anybody asks: to be made again with another model or other examples.
stored: install
	$(BIN)/python -m app.stored
	$(BIN)/python -m app.stories.make

screenshots: install browser
	PYTHONPATH=. $(BIN)/python tests/screenshots.py

# Which changes to the choice, the relevance and the seam no test notices; [tool.mutmut] in pyproject.toml says where.
mutation: install
	$(BIN)/python -m pip install --quiet 'mutmut>=3.8,<4'
	rm -rf mutants && $(BIN)/python -m mutmut run
	$(BIN)/python -m mutmut results

# The plugin inside lmms-eval, which needs many packages of its own: in an environment apart from this one.
lmms-check:
	$(PYTHON) -m venv .venv-lmms
	.venv-lmms/bin/python -m pip install --quiet -e '.[lmms]' 'pytest>=9'
	.venv-lmms/bin/python -m pytest tests/lmms

# Workers and replicas on Ray, which needs many packages of its own: in an environment apart from this one.
scale-check:
	$(PYTHON) -m venv .venv-scale
	.venv-scale/bin/python -m pip install --quiet -e '.[scale]' 'pytest>=9' 'openai>=2' httpx
	.venv-scale/bin/python -m pytest tests/evaluate/test_shared_study.py tests/serve

# Twenty users for ten minutes, and what must hold meanwhile and afterwards.
USERS ?= 20
MINUTES ?= 10
soak: install
	$(BIN)/python -m checks.soak --users $(USERS) --minutes $(MINUTES)

abuse-table: install
	$(BIN)/python tests/abuse/table.py
