# What both recipes share: pinned dependencies for one platform, reproducible to the byte.
# Called by `sam build` (BuildMethod: makefile), which sets ARTIFACTS_DIR and names the resource.

SHELL := /bin/sh
.SHELLFLAGS := -euc
MAKEFLAGS += --no-print-directory

UV ?= uv
# Lambda's, on AWS.
PYTHON_VERSION := 3.12

# Lambda's platform, or `native`: the emulator runs functions as processes of this machine, with the
# Python that its environment has: CHAT_PYTHON.
CHAT_PLATFORM ?= aarch64-manylinux_2_28
CHAT_PYTHON ?= $(PYTHON_VERSION)
PYTHON := $(if $(filter native,$(CHAT_PLATFORM)),$(CHAT_PYTHON),$(PYTHON_VERSION))
PLATFORM_FLAGS := $(if $(filter native,$(CHAT_PLATFORM)),,--python-platform $(CHAT_PLATFORM))

# Lambda's Python runtime brings these (docs/adr/0008-boto3-from-the-runtime.md).
RUNTIME_PACKAGES := boto3 botocore s3transfer jmespath python-dateutil six

EXPORT := $(UV) export --quiet --locked --no-dev --no-emit-workspace --no-hashes --no-header --no-annotate

# $(call install,exported requirements,directory)
# Never .pth files, installer traces or console scripts: they differ from build to build.
define install
	$(UV) pip install --quiet --no-deps --only-binary :all: --no-installer-metadata \
	  --no-compile-bytecode --python "$(PYTHON)" $(PLATFORM_FLAGS) \
	  --target "$(2)" --requirements "$(1)"
	rm -rf "$(2)/bin" "$(2)/.lock"
endef

# $(call copy_package,source package,directory); what it links to goes as a file of its own.
define copy_package
	mkdir -p "$(2)"
	cp -RL "$(1)" "$(2)/"
	find "$(2)/$(notdir $(1))" -name __pycache__ -type d -prune -exec rm -rf {} +
endef

# $(call compile,directory,its root,where Lambda mounts that root,flags)
# SAM dates every zipped file 1980: bytecode that is checked by time stamp would never match, and
# each cold start would compile anew.
define compile
	PYTHONHASHSEED=0 $(UV) run --quiet --no-project --python "$(PYTHON)" \
	  python -m compileall -q --invalidation-mode unchecked-hash -s "$(2)" -p "$(3)" $(4) "$(1)"
endef
