#!/usr/bin/env bash
# Evaluates a checkpoint, or predictions saved before.
#
# usage: bash scripts/run_eval_gpu.sh [CONFIG_PATH] [VAL_DATA] [CHECKPOINT_PATH] (Optional)[PREDICTION_PATH]
#        bash scripts/run_eval_gpu.sh [DATASET] [CHECKPOINT_PATH] [DEVICE_ID]
#
# The first form evaluates any detector:
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml, or the config.yaml of a training)
# VAL_DATA         path to the validation set: a folder with data/ and labels.json, or one of COCO's own layout
# CHECKPOINT_PATH  path to the checkpoint
# PREDICTION_PATH  path to a JSON file of predictions: read when it is there, else written
#
# The second is RefineDet's; scripts/refinedet/run_eval_gpu.sh --help explains it. Any key of the configuration may
# follow as --KEY VALUE, such as --test_batch_size 8.
#
# In the environment:
# DEVICE_TARGET  GPU (default), Ascend or CPU; DEVICE_TARGET=CPU runs it without a GPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

FORMS=(
    "config    3 4 config*"
    "refinedet 3 3 dataset*"
)
choose_form "$0" "$@"
evaluate_with_config GPU "${PLACED[@]}"
