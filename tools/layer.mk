# Packages the layer: `commons` and what it needs, without what the runtime has.
# The member's Makefile sets MEMBER and includes this file.

include $(dir $(lastword $(MAKEFILE_LIST)))package.mk

PRUNE_FLAGS = $(addprefix --prune ,$(RUNTIME_PACKAGES))

build-%:
	$(EXPORT) --package $(MEMBER) $(PRUNE_FLAGS) --output-file "$(ARTIFACTS_DIR)/.requirements" >/dev/null
	$(call install,$(ARTIFACTS_DIR)/.requirements,$(ARTIFACTS_DIR)/python)
	rm "$(ARTIFACTS_DIR)/.requirements"
	$(call copy_package,src/$(MEMBER),$(ARTIFACTS_DIR)/python)
	$(call compile,$(ARTIFACTS_DIR)/python,$(ARTIFACTS_DIR)/python,/opt/python)
