#!/usr/bin/env bash
# Evaluates a checkpoint of RefineDet on a GPU.
#
# usage: bash scripts/refinedet/run_eval_gpu.sh [DATASET] [CHECKPOINT_PATH] [DEVICE_ID] [--KEY VALUE]...
#
# run_eval.sh with the GPU as its default device; its --help explains the arguments, what goes where, and the
# variables in the environment, such as DEVICE_TARGET=CPU.
set -euo pipefail
DEFAULT_DEVICE=GPU
# shellcheck source-path=SCRIPTDIR source=../refinedet/run_eval.sh
source "$(dirname "${BASH_SOURCE[0]}")/run_eval.sh"
