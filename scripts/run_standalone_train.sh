#!/usr/bin/env bash
# Trains any detector on one Ascend device.
#
# usage: bash scripts/run_standalone_train.sh [CONFIG_PATH] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]
#
# run_standalone_train_gpu.sh with Ascend as its default device; its --help explains the arguments and the variables in
# the environment, such as DEVICE_TARGET=CPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

read_arguments "$0" 5 6 "$@"
train_with_config Ascend "${PLACED[@]}"
