#!/usr/bin/env bash
# Trains any detector on one GPU.
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
# Any key of the configuration may follow as --KEY VALUE, such as --batch_size 8.
#
# In the environment:
# DEVICE_TARGET  GPU (default), Ascend or CPU; DEVICE_TARGET=CPU runs it without a GPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

read_arguments "$0" 5 6 "$@"
train_with_config GPU "${PLACED[@]}"
