#!/usr/bin/env bash
# Trains RefineDet on one GPU.
#
# usage: bash scripts/refinedet/run_standardalone_train_gpu.sh [DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET] [PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional) [--KEY VALUE]...
#
# run_standardalone_train.sh with the GPU as its default device; its --help explains the arguments, what goes where, and
# the variables in the environment, such as DEVICE_TARGET=CPU.
set -euo pipefail
DEFAULT_DEVICE=GPU
# shellcheck source-path=SCRIPTDIR source=../refinedet/run_standardalone_train.sh
source "$(dirname "${BASH_SOURCE[0]}")/run_standardalone_train.sh"
