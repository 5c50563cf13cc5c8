#!/usr/bin/env bash
# Trains RefineDet on several Ascend devices, one process per device.
#
# usage: bash scripts/refinedet/run_distribute_train.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [RANK_TABLE_FILE] [PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional) [--KEY VALUE]...
#
# DEVICE_NUM              number of devices; the total batch is DEVICE_NUM x batch_size
# EPOCH_SIZE              number of epochs
# LR                      learning rate
# DATASET                 coco, voc or other
# RANK_TABLE_FILE         JSON file with the devices (MindSpore's hccl_tools.py writes it), checked before anything
#                         starts; '' starts devices 0 to DEVICE_NUM - 1 of this machine with msrun, which needs none
# PRE_TRAINED             checkpoint to start from
# PRE_TRAINED_EPOCH_SIZE  epochs that it was trained for; the learning rate goes on from there
# --KEY VALUE             any key of the configuration, such as --batch_size 8 or --resume 1
#
# The results go to ./LOG_ and the number of devices, such as ./LOG_8p: checkpoints, curves, metrics and the
# configuration to LOG_8p/ckpt, what process 0 prints also to LOG_8p/log.txt, and what each process prints to
# LOG_8p/ckpt/processes. When one process fails, the whole run ends.
#
# In the environment:
# CONFIG_PATH    configuration; default: that of `python train.py --dataset DATASET`
# OUTPUT_DIR     folder instead of ./LOG_8p
# DEVICE_TARGET  Ascend (default), GPU or CPU; for example DEVICE_TARGET=CPU
# LAUNCHER       Ascend: rank_table (default; one process for each device of the table) or msrun (the modern way);
#                GPU: mpirun (default) or msrun; CPU: msrun (default) or mpirun
# SERVER_ID      which server of a rank table with several this machine is, when its addresses do not tell
# BIND_CORES=1   share the CPU's cores out among the processes
# NODE_NUM       number of machines that run this command together, through msrun; DEVICE_NUM is that of all machines
# NODE_RANK      number of this machine, 0 to NODE_NUM - 1; machine 0 logs and writes the results
# MASTER_ADDR    address of machine 0, the same on all machines, and
# MASTER_PORT    the first of two free ports there; default 8118
# DRY_RUN=1      only print what each rank would start
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../device_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/../device_commands.sh"

read_arguments "$0" 5 7 "$@"
ARGUMENTS=()
add_config ""
add_schedule "${PLACED[1]}" "${PLACED[2]}"
add_dataset "${PLACED[3]}"
add_pre_trained "${PLACED[@]:5}"
train_on_several "LOG_${PLACED[0]}p" Ascend "${PLACED[0]}" "${PLACED[4]}"
