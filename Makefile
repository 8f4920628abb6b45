# Everything that a person does with this folder. `make help` lists it; the work is in scripts/.

PROFILE ?= release
export PROFILE

.PHONY: help setup build up down test test-fast test-store test-fleet simulate same-trace mutants bench lint clean-tests

help: ## Shows this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Checks what building and testing need, and installs what is missing (asks first)
	@scripts/setup build test

build: ## Builds bin/skep
	@scripts/setup --check build
	@scripts/build

up: ## Builds, runs `skep up` in the background and the tour on this machine
	@scripts/up

down: ## Removes all that `make up` made
	@scripts/down

test: ## Runs all tests, the fast ones first (root and Docker are needed)
	@scripts/run-tests lint fast simulation store engine fleet

test-fast: ## Runs what needs neither root nor Docker
	@scripts/run-tests lint fast

test-store: ## Runs the tests on real etcd
	@scripts/run-tests store

test-fleet: ## Runs the tests on several real Docker Engines
	@scripts/run-tests fleet

simulate: ## Breaks a simulated fleet: SEEDS= HOURS= FIRST= SCENARIO=, SEED= to replay one, or FAMILIES=all
	@scripts/simulate seeds

same-trace: ## Shows that a seed has one trace, in debug and in release builds
	@scripts/simulate same

mutants: ## Shows that the simulation sees each planted bug
	@scripts/simulate mutants

bench: ## Runs the benchmarks: a table, and JSON beside it
	@scripts/run-tests bench

lint: ## Checks formatting, lints, and the shell scripts
	@scripts/run-tests lint

clean-tests: ## Removes what killed test runs left behind
	@scripts/clean-tests
