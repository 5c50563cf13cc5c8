#!/usr/bin/env bash
# Builds the custom kernels: RoIAlign, convolutions, normalization, pooling, suppression and updates of weights for the
# CPU and, where there is an nvcc, RoIAlign for GPUs.
#
# usage: bash scripts/build_custom.sh [cpu] [cuda]
#
# Without arguments: all that this machine has compilers for; CUDA is skipped without nvcc. What is already built from
# the same sources with the same compiler is left alone. The libraries go to build/custom, or to $CUSTOM_LIBRARY_DIR, or
# where the project cannot be written to ~/.cache/mindspore_detection/custom. Training and evaluation build what they
# need themselves; this is for doing it ahead. $CXX and $NVCC choose the compilers (default: g++ and nvcc); DRY_RUN=1
# only prints what would be run.
# Exit code 2: a compiler is missing (the package to install is named) or failed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_usage "$0" 0 2 "$@"
python="$(project_python)"
run exec env PYTHONPATH="$PROJECT_ROOT" "$python" "$PROJECT_ROOT/src/ops/kernel_library.py" "$@"
