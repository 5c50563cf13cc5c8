#!/usr/bin/env bash
# Evaluates a checkpoint, or predictions saved before.
#
# usage: bash scripts/run_eval_gpu.sh [CONFIG_PATH] [VAL_DATA] [CHECKPOINT_PATH] (Optional)[PREDICTION_PATH]
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml, or the config.yaml of a training)
# VAL_DATA         path to the validation set: a folder with data/ and labels.json, or one of COCO's own layout
# CHECKPOINT_PATH  path to the checkpoint
# PREDICTION_PATH  path to a JSON file of predictions: read when it is there, else written
#
# DEVICE_TARGET=CPU in the environment runs it without a GPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_usage "$0" 3 4 "$@"
config="$(existing CONFIG_PATH file "$1")"
val="$(existing VAL_DATA folder "$2")"
checkpoint="$(existing CHECKPOINT_PATH file "$3")"
arguments=(--config_path "$config" --val_dataset "$val" --checkpoint_path "$checkpoint")
if (($# == 4)); then
    arguments+=(--prediction_path "$(realpath -m -- "$4")")
fi
device="$(require_device 1)"
python="$(project_python)"
exec "$python" "$PROJECT_ROOT/eval.py" --device_target "$device" "${arguments[@]}"
