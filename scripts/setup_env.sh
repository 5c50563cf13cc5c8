#!/usr/bin/env bash
# Makes, or reuses, the project's Python environment.
#
# usage: bash scripts/setup_env.sh [REQUIREMENTS]
#
# REQUIREMENTS: a requirements file of the project; default requirements.txt.
#
# The environment is .venv in the project's folder, or $VENV_DIR. It is made with the first of python3.11, python3.12,
# python3.10 and python3 that is a Python 3.10 to 3.12. Packages are installed again only when the requirements files
# changed; a complete environment needs no network. What the system lacks (python3-venv, libgomp1, g++) is installed
# by apt-get or dnf when that is allowed, otherwise named. Without g++ it goes on: only the models with masks need it, for their RoIAlign.
#
# In the environment:
# MINDSPORE_VERSION  another version of MindSpore than the pinned one, for an environment of its own (set VENV_DIR too)
# DRY_RUN=1          only print what would be done
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SUPPORTED='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
# Marks an environment as made here, so that a broken one may be removed and made again.
MARKER="made_by_setup_env"
# Free disk space an installation wants: the environment itself and pip's downloads.
NEEDED_MB=5000

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.10 python3; do
        if "$candidate" -c "$SUPPORTED" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.10, 3.11 or 3.12 found (MindSpore 2.10 has no other): $(install_command python3 python3-venv)"
}

# MindSpore's operators need the OpenMP run-time library, which a bare machine lacks.
require_openmp() {
    if ! "$1" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null; then
        install_packages libgomp1
    fi
}

# The models with masks compile their RoIAlign; all else works without a compiler.
want_compiler() {
    if ! command -v -- "${CXX:-g++}" >/dev/null; then
        (install_packages g++) || echo "== going on without a C++ compiler: only Mask R-CNN and Cascade Mask R-CNN need it"
    fi
}

require_venv_module() {
    local python="$1" version
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        install_packages "python$version-venv"
    fi
}

is_usable() {
    "$VENV_DIR/bin/python" -c "$SUPPORTED; import pip" >/dev/null 2>&1
}

make_venv() {
    local python
    if is_usable; then
        return
    fi
    rmdir -- "$VENV_DIR" 2>/dev/null || true
    if [[ -e "$VENV_DIR" ]]; then
        if [[ ! -e "$VENV_DIR/$MARKER" ]]; then
            fail "$VENV_DIR is no working Python 3.10 to 3.12 environment and was not made here; move it away"
        fi
        echo "== $VENV_DIR is incomplete: making it again"
        rm -rf -- "$VENV_DIR"
    fi
    python="$(find_python)"
    require_venv_module "$python"
    echo "== making $VENV_DIR with $("$python" --version) ($python)"
    mkdir -p -- "$VENV_DIR"
    touch -- "$VENV_DIR/$MARKER"
    "$python" -m venv "$VENV_DIR" || fail "$python could not make an environment in $VENV_DIR"
}

# Checksum of what determines the packages: the files (one may include requirements.txt), MindSpore and the Python.
fingerprint() {
    {
        cat -- "$PROJECT_ROOT/requirements.txt" "$1"
        printf '%s' "${MINDSPORE_VERSION:-}"
        "$VENV_DIR/bin/python" --version
    } | sha256sum | cut -d' ' -f1
}

# with_version REQUIREMENTS: the file to install, which is a copy where another version of MindSpore is wanted.
with_version() {
    local folder="$VENV_DIR/requirements" file
    if [[ -z "${MINDSPORE_VERSION:-}" ]]; then
        echo "$1"
        return
    fi
    mkdir -p -- "$folder"
    for file in "$PROJECT_ROOT/requirements.txt" "$1"; do # the one is what the other includes
        sed "s/^mindspore==.*/mindspore==$MINDSPORE_VERSION/" "$file" >"$folder/$(basename "$file")"
    done
    echo "$folder/$(basename "$1")"
}

# Says every ten seconds that work goes on, until it is killed.
heartbeat() {
    local started=$SECONDS
    # Closed files: a sleep that outlives this function must hold neither the console nor the lock.
    while sleep 10 >/dev/null 2>&1 9>&-; do
        echo "   ... $((SECONDS - started)) s, $(du -sm -- "$VENV_DIR" 2>/dev/null | cut -f1) MB installed"
    done
}

install_requirements() {
    local requirements="$1" log="$VENV_DIR/pip.log" beat status=0 free
    free="$(df -Pm -- "$VENV_DIR" | awk 'NR == 2 {print $4}')"
    if ((free < NEEDED_MB)); then
        fail "$VENV_DIR needs $NEEDED_MB MB, its disk has $free MB free"
    fi
    echo "== installing $(basename "$requirements") (once; some minutes, 3 GB on disk; details in $log)"
    heartbeat &
    beat=$!
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        "$VENV_DIR/bin/python" -m pip install --progress-bar off -r "$requirements" 2>&1 | tee -- "$log" |
        sed -u -n -E '/^(Collecting|Installing collected|Successfully)/{s/^(.{100}).*/\1 .../;s/^/   /;p}' || status=$?
    kill "$beat" 2>/dev/null || true
    wait "$beat" 2>/dev/null || true
    if ((status != 0)); then
        grep -E '^ERROR' -- "$log" >&2 || tail -n 5 -- "$log" >&2
        fail "pip could not install $requirements (is the network there?); the whole output is in $log"
    fi
}

# A wheel can install and still not load because a system library is missing: better said here than in mid-run.
check_imports() {
    echo "== checking the packages"
    "$VENV_DIR/bin/python" -c 'import mindspore, numpy, cv2, pycocotools.mask, pydantic, matplotlib' \
        >>"$VENV_DIR/pip.log" 2>&1 || {
        tail -n 3 -- "$VENV_DIR/pip.log" >&2
        fail "the installed packages do not load; the whole output is in $VENV_DIR/pip.log"
    }
}

is_installed() {
    [[ "$(cat -- "$VENV_DIR/installed-$(basename "$1")" 2>/dev/null)" == "$(fingerprint "$1")" ]]
}

show_plan() {
    local python
    if [[ ! -x "$VENV_DIR/bin/python" ]]; then
        python="$(find_python)"
        echo "would make $VENV_DIR with $python and install $1"
    elif ! is_installed "$1"; then
        echo "would install $1 in $VENV_DIR"
    else
        echo "nothing to do: $VENV_DIR has what $1 asks for"
    fi
}

main() {
    local requirements stamp
    check_usage "$0" 0 1 "$@"
    requirements="$(existing REQUIREMENTS file "${1:-$PROJECT_ROOT/requirements.txt}")"
    if [[ ! "${MINDSPORE_VERSION:-}" =~ ^([0-9]+(\.[0-9]+)*(rc[0-9]+)?)?$ ]]; then
        fail "MINDSPORE_VERSION is '$MINDSPORE_VERSION', no version such as 2.9.0"
    fi
    if dry_run; then
        show_plan "$requirements"
        return 0
    fi
    stamp="$VENV_DIR/installed-$(basename "$requirements")"

    mkdir -p -- "$(dirname "$VENV_DIR")"
    exec 9>"$VENV_DIR.lock"
    flock -n 9 || {
        echo "== waiting for another set-up of $VENV_DIR"
        flock 9
    }
    make_venv
    want_compiler
    if ! is_installed "$requirements"; then
        require_openmp "$VENV_DIR/bin/python"
        install_requirements "$(with_version "$requirements")"
        check_imports
        fingerprint "$requirements" >"$stamp"
        if [[ "$requirements" == "$PROJECT_ROOT/requirements-dev.txt" ]]; then # which includes requirements.txt
            fingerprint "$PROJECT_ROOT/requirements.txt" >"$VENV_DIR/installed-requirements.txt"
        fi
    fi
    echo "== environment ready: $VENV_DIR ($("$VENV_DIR/bin/python" --version))"
}

main "$@"
