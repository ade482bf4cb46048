#!/bin/sh
# Installs what package-lock.json names, where that is not what is installed.
set -eu
cd "$(dirname "$0")/.."
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --ignore-scripts
