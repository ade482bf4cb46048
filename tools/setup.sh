#!/bin/sh
# Finds or brings a working uv, syncs the environment, and prints uv's path on stdout (all else goes
# to stderr). Needs a POSIX shell and any Python 3.8 or newer.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
private="$root/.local/uv"
minimum="0.13"
unset UV_PROJECT_ENVIRONMENT VIRTUAL_ENV

say() { printf '%s\n' "$*" >&2; }

# Under pyenv a shim may be there and yet fail: only what runs counts.
works() {
    reported=$("$1" --version 2>/dev/null) || return 1
    version=${reported#uv }
    version=${version%% *}
    [ "$(printf '%s\n%s\n' "$minimum" "$version" | sort -V | head -n 1)" = "$minimum" ]
}

pythons() {
    for name in python3 python python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 \
        python3.8 /usr/local/bin/python3 /usr/bin/python3; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 &&
            "$name" -c 'import sys; print(sys.executable)'
    done | awk '!seen[$0]++'
}

# The binary that `python -m uv` would run.
uv_of() { "$1" -c 'import uv; print(uv.find_uv_bin())' 2>/dev/null; }

find_uv() {
    for candidate in uv "$private/bin/uv"; do
        if works "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    while read -r python; do
        candidate=$(uv_of "$python") && works "$candidate" && printf '%s\n' "$candidate" && return 0
    done <<PYTHONS
$(pythons)
PYTHONS
    return 1
}

# Each way is tried until one leaves a uv that runs: an externally managed Python refuses the
# first, one without ensurepip the second, one without pip all but the second.
install_uv() {
    requirement="uv>=$minimum"
    log="$root/.local/setup.log"
    mkdir -p "$root/.local"
    : >"$log"
    while read -r python; do
        say "Installing uv with $python"
        "$python" -m pip install --quiet "$requirement" >>"$log" 2>&1 &&
            { command -v pyenv >/dev/null 2>&1 && pyenv rehash >>"$log" 2>&1 || true; } &&
            find_uv && return 0
        rm -rf "$private"
        "$python" -m venv "$private" >>"$log" 2>&1 &&
            "$private/bin/python" -m pip install --quiet "$requirement" >>"$log" 2>&1 &&
            find_uv && return 0
        rm -rf "$private"
        "$python" -m pip install --quiet --target "$private" "$requirement" >>"$log" 2>&1 &&
            find_uv && return 0
        rm -rf "$private"
    done <<PYTHONS
$(pythons)
PYTHONS
    return 1
}

if ! uv=$(find_uv); then
    if ! uv=$(install_uv); then
        say "No uv $minimum or newer was found, and none could be installed with a Python 3.8 or newer:"
        tail -n 20 "$root/.local/setup.log" >&2
        exit 1
    fi
fi
if ! works uv; then
    say "uv is at $uv: add its folder to PATH to run 'uv run poe ...' yourself."
fi
# uv looks for interpreters in fewer places than a shell does; what it does not find it downloads.
wanted=$(cat .python-version)
if ! "$uv" python find --system --no-python-downloads "$wanted" >/dev/null 2>&1; then
    for python in $(pythons); do
        if "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$wanted')"; then
            export UV_PYTHON="$python"
            break
        fi
    done
fi
started=$(date +%s)
say "Syncing the environment with uv $("$uv" --version | cut -d ' ' -f 2)"
if ! "$uv" sync --locked --quiet >&2; then
    say "The environment could not be synced (above is why)."
    exit 1
fi
say "Environment ready ($(($(date +%s) - started)) s)"
printf '%s\n' "$uv"
