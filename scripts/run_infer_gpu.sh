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
# Any key of the configuration may follow as --KEY VALUE, such as --test_batch_size 8.
#
# In the environment:
# DEVICE_TARGET  GPU (default), Ascend or CPU; DEVICE_TARGET=CPU runs it without a GPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

read_arguments "$0" 4 4 "$@"
detect_with_config GPU "${PLACED[@]}"
