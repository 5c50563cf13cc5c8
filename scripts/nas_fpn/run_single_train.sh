#!/usr/bin/env bash
# Trains the NAS-FPN RetinaNet on one device.
#
# usage: bash scripts/nas_fpn/run_single_train.sh DEVICE_ID MINDRECORD_DIR PRE_TRAINED(optional) PRE_TRAINED_EPOCH_SIZE(optional) [--KEY VALUE]...
#
# DEVICE_ID               device to use, from 0
# MINDRECORD_DIR          folder that create_data.py made; '' trains on the images that the configuration names
# PRE_TRAINED             checkpoint to start from
# PRE_TRAINED_EPOCH_SIZE  epochs that it was trained for; the learning rate goes on from there
# --KEY VALUE             any key of the configuration, such as --batch_size 8 or --resume 1
#
# The checkpoints go to ./ckpt, with the run's curves, metrics and configuration, and what is printed also to ./log.txt.
#
# In the environment:
# CONFIG_PATH    configuration; default configs/nas_fpn/retinanet_r50_nasfpn_640.yaml
# OUTPUT_DIR     folder instead of the current one
# DEVICE_TARGET  Ascend (default), GPU or CPU; for example DEVICE_TARGET=CPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../device_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/../device_commands.sh"

read_arguments "$0" 2 4 "$@"
ARGUMENTS=()
add_config configs/nas_fpn/retinanet_r50_nasfpn_640.yaml
add_mindrecord "${PLACED[1]}"
add_pre_trained "${PLACED[@]:2}"
train_on_one . Ascend "${PLACED[0]}"
