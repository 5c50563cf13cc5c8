#!/usr/bin/env bash
# Trains on several Ascend devices, one process per device.
#
# usage: bash scripts/run_distribute_train.sh [CONFIG_PATH] [DEVICE_NUM] [RANK_TABLE_FILE] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]
#        bash scripts/run_distribute_train.sh DEVICE_NUM RANK_TABLE_FILE MINDRECORD_DIR PRE_TRAINED(optional) PRE_TRAINED_EPOCH_SIZE(optional)
#        bash scripts/run_distribute_train.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [RANK_TABLE_FILE] [PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional)
#
# The first form trains any detector:
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml)
# DEVICE_NUM       number of devices; the total batch is DEVICE_NUM x batch_size
# RANK_TABLE_FILE  JSON file with the devices (MindSpore's hccl_tools.py writes it), checked before anything starts;
#                  '' starts devices 0 to DEVICE_NUM - 1 of this machine with msrun, which needs none
# TRAIN_DATA       path to the training set: a folder with data/ and labels.json, or one of COCO's own layout
# VAL_DATA         path to the validation set
# TRAIN_OUT        path to the folder with training experiments; made when it is not there
# BRIEF            short name of this experiment: everything is stored in TRAIN_OUT/BRIEF, also reachable as LOG/BRIEF
# PRETRAINED_PATH  path to a checkpoint to start from
#
# The second is NAS-FPN's, the third RefineDet's; the scripts of the same name in scripts/nas_fpn and scripts/refinedet
# explain theirs with --help. Any key of the configuration may follow as --KEY VALUE, such as --batch_size 8.
# When one process fails, the whole run ends.
#
# In the environment:
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
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

FORMS=(
    "config    7 8 config*"
    "refinedet 5 7 number number*"
    "nas_fpn   3 5 number word*"
)
choose_form "$0" "$@"
train_on_several_with_config Ascend "${PLACED[@]}"
