#!/usr/bin/env bash
# Evaluates a checkpoint of RefineDet on an Ascend device.
#
# usage: bash scripts/refinedet/run_eval.sh [DATASET] [CHECKPOINT_PATH] [DEVICE_ID] [--KEY VALUE]...
#
# DATASET          coco, voc or other
# CHECKPOINT_PATH  checkpoint
# DEVICE_ID        device to use, from 0
# --KEY VALUE      any key of the configuration, such as --test_batch_size 8
#
# What is printed also goes to ./eval and the DEVICE_ID, such as ./eval0/log.txt.
#
# In the environment:
# CONFIG_PATH    configuration; default: that of the checkpoint's training, or of `python eval.py --dataset DATASET`
# OUTPUT_DIR     folder for eval0 instead of the current one
# DEVICE_TARGET  Ascend (default), GPU or CPU; for example DEVICE_TARGET=CPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../device_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/../device_commands.sh"

read_arguments "$0" 3 3 "$@"
ARGUMENTS=()
add_config ""
add_dataset "${PLACED[0]}"
evaluate_on_one "eval${PLACED[2]}/log.txt" "${DEFAULT_DEVICE:-Ascend}" "${PLACED[2]}" "${PLACED[1]}"
