#!/usr/bin/env bash
# Sets up the environment, compiles the custom operators and runs the test suite, style checks included.
#
# usage: bash scripts/run_tests.sh [PYTEST_ARGUMENT]...
#
# Without arguments: the whole suite. Examples of arguments: tests/data, -k anchor, -m "not slow", -x.
# Two to four tests run at once, as there are cores (-n 0: one after the other); files are kept together.
# The program of ascend310_infer is compiled and tested too, mpirun used, and pages opened in headless Chromium; what
# they need is installed where that is allowed.
# DRY_RUN=1 in the environment only prints what would be run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# What compiles ascend310_infer; its tests are skipped, and say so, where this cannot be had.
want_libraries_of_ascend310() {
    local headers=$'#include <nlohmann/json.hpp>\n#include <opencv2/imgcodecs.hpp>'
    if ! command -v cmake >/dev/null ||
        ! "${CXX:-g++}" -E -x c++ -I/usr/include/opencv4 -I/usr/local/include/opencv4 - <<<"$headers" >/dev/null 2>&1; then
        (install_packages cmake nlohmann-json3-dev libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev) ||
            echo "== going on without them: the tests of ascend310_infer are skipped"
    fi
}

# What starts processes as the published GPU commands do; the test of that is skipped where it cannot be had.
want_mpirun() {
    command -v mpirun >/dev/null || (install_packages openmpi-bin) ||
        echo "== going on without it: the test of mpirun is skipped"
}

# What opens app.py's page and the reports; those tests are skipped where it cannot be had.
want_browser() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome headless_shell; do
        if command -v "$name" >/dev/null; then
            return
        fi
    done
    (install_packages chromium) || echo "== going on without it: the tests that open pages in a browser are skipped"
}

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    usage_of "$0"
    exit 0
fi
bash "$PROJECT_ROOT/scripts/setup_env.sh" "$PROJECT_ROOT/requirements-dev.txt"
run env PYTHON="$VENV_DIR/bin/python" bash "$PROJECT_ROOT/scripts/build_custom.sh" cpu
if ! dry_run; then
    want_libraries_of_ascend310
    want_mpirun
    want_browser
fi
cd "$PROJECT_ROOT"
echo "== running the tests"
run exec "$VENV_DIR/bin/python" -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
