#!/usr/bin/env bash
# Sets up the environment, compiles the custom operators and runs the test suite, style checks included.
#
# usage: bash scripts/run_tests.sh [PYTEST_ARGUMENT]...
#
# Without arguments: the whole suite. Examples of arguments: tests/data, -k anchor, -m "not slow", -x.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    usage_of "$0"
    exit 0
fi
bash "$PROJECT_ROOT/scripts/setup_env.sh" "$PROJECT_ROOT/requirements-dev.txt"
PYTHON="$VENV_DIR/bin/python" bash "$PROJECT_ROOT/scripts/build_custom.sh" cpu
cd "$PROJECT_ROOT"
echo "== running the tests"
exec "$VENV_DIR/bin/python" -m pytest "$@"
