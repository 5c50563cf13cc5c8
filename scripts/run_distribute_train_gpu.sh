#!/usr/bin/env bash
# Trains on several devices of this machine, one process per device.
#
# usage: bash scripts/run_distribute_train_gpu.sh [CONFIG_PATH] [DEVICE_NUM] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]
#        bash scripts/run_distribute_train_gpu.sh [DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional)
#
# The first form trains any detector:
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml)
# DEVICE_NUM       number of devices; the total batch is DEVICE_NUM x batch_size
# TRAIN_DATA       path to the training set: a folder with data/ and labels.json, or one of COCO's own layout
# VAL_DATA         path to the validation set
# TRAIN_OUT        path to the folder with training experiments; made when it is not there
# BRIEF            short name of this experiment: everything is stored in TRAIN_OUT/BRIEF, also reachable as LOG/BRIEF
# PRETRAINED_PATH  path to a checkpoint to start from
#
# The second is RefineDet's; scripts/refinedet/run_distribute_train_gpu.sh --help explains it. Any key of the
# configuration may follow as --KEY VALUE, such as --batch_size 8.
#
# On GPUs the processes are started by mpirun (OpenMPI must be installed), on the CPU by MindSpore's msrun. When one
# process fails, the whole run ends.
#
# In the environment:
# DEVICE_TARGET  GPU (default), Ascend or CPU; DEVICE_TARGET=CPU runs DEVICE_NUM processes on the CPU
# LAUNCHER       GPU: mpirun (default) or msrun; CPU: msrun (default) or mpirun; Ascend: msrun
# NODE_NUM       number of machines that run this command together, through msrun; DEVICE_NUM is that of all machines
# NODE_RANK      number of this machine, 0 to NODE_NUM - 1; machine 0 logs and writes the results
# MASTER_ADDR    address of machine 0, the same on all machines, and
# MASTER_PORT    the first of two free ports there; default 8118
# DRY_RUN=1      only print what each rank would start
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

FORMS=(
    "config    6 7 config*"
    "refinedet 4 6 number*"
)
choose_form "$0" "$@"
train_on_several_with_config GPU "${PLACED[@]:0:2}" "" "${PLACED[@]:2}"
