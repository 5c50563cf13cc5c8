#!/usr/bin/env bash
# Trains on several devices of this machine, one process per device.
#
# usage: bash scripts/run_distribute_train_gpu.sh [CONFIG_PATH] [DEVICE_NUM] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml)
# DEVICE_NUM       number of devices; the total batch is DEVICE_NUM x batch_size
# TRAIN_DATA       path to the training set: a folder with data/ and labels.json, or one of COCO's own layout
# VAL_DATA         path to the validation set
# TRAIN_OUT        path to the folder with training experiments; made when it is not there
# BRIEF            short name of this experiment: everything is stored in TRAIN_OUT/BRIEF, also reachable as LOG/BRIEF
# PRETRAINED_PATH  path to a checkpoint to start from
#
# On GPUs the processes are started by mpirun (OpenMPI must be installed). DEVICE_TARGET=CPU in the environment runs
# DEVICE_NUM processes on the CPU, started by MindSpore's msrun. When one process fails, the whole run ends.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=launch.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

check_usage "$0" 6 7 "$@"
number="$2"
require_number DEVICE_NUM "$number" 1
read_train_arguments "$1" "${@:3}"
device="$(require_device "$number")"
python="$(project_python)"
link_log "$TRAIN_OUT" "$BRIEF"
launch "$(launcher_for "$device")" "$number" "$python" "$TRAIN_OUT/$BRIEF/processes" \
    --device_target "$device" --run_distribute 1 --device_num "$number" "${TRAIN_ARGUMENTS[@]}"
