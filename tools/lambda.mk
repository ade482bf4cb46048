# Packages one function: its own code, and only what neither the layer nor the runtime has.
# Its own code goes as bytecode alone, half the size, and without docstrings, which nothing reads at run
# time; tracebacks keep their files and line numbers.
# A member's Makefile sets MEMBER, names in UNSHIPPED the subpackages that only development needs,
# in FINISH a command to be run on the copied package, and includes this file.

include $(dir $(lastword $(MAKEFILE_LIST)))package.mk

LAYER_PACKAGES = $(shell $(EXPORT) --package commons | sed 's/[=; ].*//')
PRUNE_FLAGS = $(addprefix --prune ,commons $(LAYER_PACKAGES) $(RUNTIME_PACKAGES))

build-%:
	$(EXPORT) --package $(subst _,-,$(MEMBER)) $(PRUNE_FLAGS) --output-file "$(ARTIFACTS_DIR)/.requirements" >/dev/null
	$(call install,$(ARTIFACTS_DIR)/.requirements,$(ARTIFACTS_DIR))
	rm "$(ARTIFACTS_DIR)/.requirements"
	$(call compile,$(ARTIFACTS_DIR),$(ARTIFACTS_DIR),/var/task)
	$(call copy_package,src/$(MEMBER),$(ARTIFACTS_DIR))
	$(FINISH)
	rm -rf $(foreach subpackage,$(UNSHIPPED),"$(ARTIFACTS_DIR)/$(MEMBER)/$(subpackage)")
	$(call compile,$(ARTIFACTS_DIR)/$(MEMBER),$(ARTIFACTS_DIR),/var/task,-b -o 2)
	find "$(ARTIFACTS_DIR)/$(MEMBER)" -name '*.py' -delete
