#!/usr/bin/env bash
# Trains on one device.
#
# usage: bash scripts/run_standalone_train_gpu.sh [CONFIG_PATH] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml)
# TRAIN_DATA       path to the training set: a folder with data/ and labels.json, or one of COCO's own layout
# VAL_DATA         path to the validation set
# TRAIN_OUT        path to the folder with training experiments; made when it is not there
# BRIEF            short name of this experiment: everything is stored in TRAIN_OUT/BRIEF, also reachable as LOG/BRIEF
# PRETRAINED_PATH  path to a checkpoint to start from
#
# DEVICE_TARGET=CPU in the environment runs it without a GPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_usage "$0" 5 6 "$@"
read_train_arguments "$@"
device="$(require_device 1)"
python="$(project_python)"
link_log "$TRAIN_OUT" "$BRIEF"
exec "$python" "$PROJECT_ROOT/train.py" --device_target "$device" "${TRAIN_ARGUMENTS[@]}"
