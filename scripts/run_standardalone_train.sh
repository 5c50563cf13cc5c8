#!/usr/bin/env bash
# Trains RefineDet on one Ascend device.
#
# usage: bash scripts/run_standardalone_train.sh [DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET] [PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional)
#
# scripts/refinedet/run_standardalone_train.sh at the name that its published README has. Its --help explains
# the arguments, what goes where, and the variables in the environment, such as DEVICE_TARGET=CPU.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/refinedet/run_standardalone_train.sh" "$@"
