#!/bin/sh
# Finds or brings a working uv, syncs the environment, and prints uv's path on stdout (all else goes
# to stderr). Needs a POSIX shell and any Python 3.8 or newer. What it brings lies in .local.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
private="$root/.local/uv"
log="$root/.local/setup.log"
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

# Those of this machine that are as new as asked for (such as `3, 12`); pyenv's, which a shim may hide, too.
pythons() {
    for name in python3 python python3.12 python3.13 python3.14 python3.11 python3.10 python3.9 \
        python3.8 /usr/local/bin/python3 /usr/bin/python3 \
        "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.*/bin/python3; do
        "$name" -c "import sys; sys.exit(sys.version_info < ($1))" >/dev/null 2>&1 &&
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
$(pythons '3, 8')
PYTHONS
    return 1
}

# Into a folder of this project, never into somebody's Python. Each way is tried until one leaves a
# uv that runs: a Python may lack ensurepip, or pip, or both.
install_uv() {
    requirement="uv>=$minimum"
    mkdir -p "$root/.local"
    : >"$log"
    while read -r python; do
        say "Installing uv into .local/uv with $python"
        rm -rf "$private"
        "$python" -m venv "$private" >>"$log" 2>&1 &&
            "$private/bin/python" -m pip install --quiet "$requirement" >>"$log" 2>&1 &&
            find_uv && return 0
        rm -rf "$private"
        "$python" -m pip install --quiet --target "$private" "$requirement" >>"$log" 2>&1 &&
            find_uv && return 0
        rm -rf "$private"
        "$python" tools/fetch_uv.py "$private" "$minimum" >>"$log" 2>&1 &&
            find_uv && return 0
        rm -rf "$private"
    done <<PYTHONS
$(pythons '3, 8')
PYTHONS
    return 1
}

# The Python of the environment: the one it has; else a 3.12, which is Lambda's; else a newer one.
# Nothing where there is none, and uv has to download one.
choose_python() {
    if [ -x .venv/bin/python ] &&
        .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
        printf '%s\n' .venv/bin/python
        return
    fi
    if [ -n "${UV_PYTHON:-}" ]; then
        printf '%s\n' "$UV_PYTHON"
        return
    fi
    for wanted in 3.12 '>=3.12'; do
        "$uv" python find --system --no-python-downloads "$wanted" 2>/dev/null && return
        # uv looks for interpreters in fewer places than a shell does.
        for python in $(pythons '3, 12'); do
            case "$wanted:$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" in
            3.12:3.12 | '>=3.12':*)
                printf '%s\n' "$python"
                return
                ;;
            esac
        done
    done
}

# With a word now and then: the first time it downloads for a while.
sync_environment() {
    (
        seconds=10
        # What outlives this loop must not hold on to a pipe that somebody reads to its end.
        while sleep 10 >/dev/null 2>&1; do
            say "   ...  still at it after $seconds s"
            seconds=$((seconds + 10))
        done
    ) >/dev/null &
    ticker=$!
    result=0
    "$uv" sync --locked --quiet "$@" >&2 || result=$?
    kill "$ticker" 2>/dev/null
    return "$result"
}

if ! uv=$(find_uv); then
    if ! uv=$(install_uv); then
        say "No uv $minimum or newer was found, and none could be installed with a Python 3.8 or newer:"
        tail -n 20 "$log" >&2
        exit 1
    fi
fi
started=$(date +%s)
python=$(choose_python)
say "Syncing the environment with uv $("$uv" --version | cut -d ' ' -f 2)"
if [ -n "$python" ]; then
    sync_environment --python "$python" || synced=$?
else
    say "No Python 3.12 or newer is on this machine: uv downloads one."
    sync_environment --python 3.12 || synced=$?
fi
if [ "${synced:-0}" -ne 0 ]; then
    if [ -n "$python" ]; then
        say "The environment could not be synced (above is why)."
    else
        say "There is no Python 3.12 or newer here, and uv could not download one (above is why)." \
            "Install one, such as Debian's python3.12, or name one with UV_PYTHON=/path/to/python."
    fi
    exit 1
fi
say "Environment ready ($(($(date +%s) - started)) s)"
printf '%s\n' "$uv"
