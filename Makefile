# The commands of a fresh machine: git, make and any Python 3. All others are `uv run poe`'s.
.DEFAULT_GOAL := help
.PHONY: help run token test account deploy deploy-all destroy

STAGE ?= dev
SETUP = uv=$$(sh tools/setup.sh)

help: ## Shows this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "uv run poe        lists the commands of a developer"

run: ## Brings the local stack up and plays the demo; ONCE=1 ends after it.
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/python -m devstack run $(if $(filter 1,$(ONCE)),--once)

# USER is set in every shell: only the one that is typed here counts.
token: ## Prints a token of that user for the running stack: USER=alice.
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/python -m devstack token "$(if $(filter command,$(firstword $(origin USER))),$(USER))"

test: ## Runs the whole test suite, the end-to-end tests on the emulator included.
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/poe test

account: ## Deploys what an AWS account and region have once: STAGE=dev [EMAIL=who-hears-of-alarms] [KEY=1].
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/python -m devstack account --stage "$(STAGE)" --email "$(EMAIL)" $(if $(filter 1,$(KEY)),--key)

deploy: ## Deploys one stack to AWS: STACK=data|websocket|workers|rest STAGE=dev.
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/python -m devstack deploy "$(STACK)" --stage "$(STAGE)"

deploy-all: ## Deploys the root template, which nests the four stacks: STAGE=dev.
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/python -m devstack deploy-all --stage "$(STAGE)"

destroy: ## Takes one stack of a stage away again: STACK=data|websocket|workers|rest|all STAGE=dev [FORCE=1].
	@$(SETUP) && export UV="$$uv" && exec .venv/bin/python -m devstack destroy "$(STACK)" --stage "$(STAGE)" $(if $(filter 1,$(FORCE)),--force)
