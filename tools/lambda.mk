# Packages one function: its own code, and only what neither the layer nor the runtime has.
# A member's Makefile sets MEMBER and includes this file.

include $(dir $(lastword $(MAKEFILE_LIST)))package.mk

LAYER_PACKAGES = $(shell $(EXPORT) --package commons | sed 's/[=; ].*//')
PRUNE_FLAGS = $(addprefix --prune ,commons $(LAYER_PACKAGES) $(RUNTIME_PACKAGES))

build-%:
	$(EXPORT) --package $(subst _,-,$(MEMBER)) $(PRUNE_FLAGS) --output-file "$(ARTIFACTS_DIR)/.requirements" >/dev/null
	$(call install,$(ARTIFACTS_DIR)/.requirements,$(ARTIFACTS_DIR))
	rm "$(ARTIFACTS_DIR)/.requirements"
	$(call copy_package,src/$(MEMBER),$(ARTIFACTS_DIR))
	$(call compile,$(ARTIFACTS_DIR),/var/task)
