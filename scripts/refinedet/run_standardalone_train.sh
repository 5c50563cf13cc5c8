#!/usr/bin/env bash
# Trains RefineDet on one Ascend device.
#
# usage: bash scripts/refinedet/run_standardalone_train.sh [DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET] [PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional) [--KEY VALUE]...
#
# DEVICE_ID               device to use, from 0
# EPOCH_SIZE              number of epochs
# LR                      learning rate
# DATASET                 coco, voc or other
# PRE_TRAINED             checkpoint to start from
# PRE_TRAINED_EPOCH_SIZE  epochs that it was trained for; the learning rate goes on from there
# --KEY VALUE             any key of the configuration, such as --batch_size 8 or --resume 1
#
# The results go to ./LOG and the DEVICE_ID, such as ./LOG0: checkpoints, curves, metrics and the configuration to
# LOG0/ckpt, and what is printed also to LOG0/log.txt.
#
# In the environment:
# CONFIG_PATH    configuration; default: that of `python train.py --dataset DATASET`
# OUTPUT_DIR     folder instead of ./LOG0
# DEVICE_TARGET  Ascend (default), GPU or CPU; for example DEVICE_TARGET=CPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../device_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/../device_commands.sh"

read_arguments "$0" 4 6 "$@"
ARGUMENTS=()
add_config ""
add_schedule "${PLACED[1]}" "${PLACED[2]}"
add_dataset "${PLACED[3]}"
add_pre_trained "${PLACED[@]:4}"
train_on_one "LOG${PLACED[0]}" "${DEFAULT_DEVICE:-Ascend}" "${PLACED[0]}"
