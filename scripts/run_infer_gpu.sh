#!/usr/bin/env bash
# Detects objects in an image or in a folder of images.
#
# usage: bash scripts/run_infer_gpu.sh [CONFIG_PATH] [CHECKPOINT_PATH] [PRED_INPUT] [PRED_OUTPUT]
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml, or the config.yaml of a training)
# CHECKPOINT_PATH  path to the checkpoint
# PRED_INPUT       path to an image or to a folder of images
# PRED_OUTPUT      path to the JSON file to write
#
# DEVICE_TARGET=CPU in the environment runs it without a GPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_usage "$0" 4 4 "$@"
config="$(existing CONFIG_PATH file "$1")"
checkpoint="$(existing CHECKPOINT_PATH file "$2")"
input="$(existing PRED_INPUT any "$3")"
output="$(realpath -m -- "$4")"
device="$(require_device 1)"
python="$(project_python)"
exec "$python" "$PROJECT_ROOT/infer.py" --device_target "$device" --config_path "$config" \
    --checkpoint_path "$checkpoint" --pred_input "$input" --pred_output "$output"
