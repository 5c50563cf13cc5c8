#!/usr/bin/env bash
# Evaluates a checkpoint of the NAS-FPN RetinaNet.
#
# usage: bash scripts/nas_fpn/run_eval.sh [DEVICE_ID] [DATASET] [MINDRECORD_DIR] [CHECKPOINT_PATH] [ANN_FILE PATH] [--KEY VALUE]...
#
# DEVICE_ID        device to use, from 0
# DATASET          coco, voc or other
# MINDRECORD_DIR   folder that create_data.py made; '' evaluates on the images beside the annotations
# CHECKPOINT_PATH  checkpoint
# ANN_FILE PATH    annotations, or a pattern such as /data/coco/annotations/instances_{}.json, in which {} stands for
#                  the key val_data_type (val2017); the MindRecord files must hold the same
# --KEY VALUE      any key of the configuration, such as --test_batch_size 8
#
# What is printed also goes to ./eval.log.
#
# In the environment:
# CONFIG_PATH    configuration; default configs/nas_fpn/retinanet_r50_nasfpn_640.yaml
# OUTPUT_DIR     folder instead of the current one
# DEVICE_TARGET  Ascend (default), GPU or CPU; for example DEVICE_TARGET=CPU
# DRY_RUN=1      only print what would be started
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../device_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/../device_commands.sh"

read_arguments "$0" 5 5 "$@"
ARGUMENTS=()
add_config configs/nas_fpn/retinanet_r50_nasfpn_640.yaml
add_dataset "${PLACED[1]}"
add_mindrecord "${PLACED[2]}"
if [[ "${PLACED[1]}" == coco ]]; then
    ARGUMENTS+=(--val_dataset "" --instance_set "$(realpath -ms -- "${PLACED[4]}")")
else
    annotations="$(existing "ANN_FILE PATH" any "${PLACED[4]}")"
    ARGUMENTS+=(--val_dataset "$annotations")
fi
evaluate_on_one eval.log Ascend "${PLACED[0]}" "${PLACED[3]}"
