#!/usr/bin/env bash
# Predicts images with an exported network on Ascend 310 and evaluates the detections.
#
# usage: bash scripts/nas_fpn/run_infer_310.sh [MINDIR_PATH] [DATA_PATH] [ANNO_PATH] [DEVICE_ID]
#
# MINDIR_PATH  network as export.py writes it, with its .json beside it
# DATA_PATH    folder of images
# ANNO_PATH    COCO annotations of them (instances_val2017.json)
# DEVICE_ID    chip to run on (optional, default 0)
# --device     Ascend (default), or CPU: the same program, by MindSpore Lite on the CPU
#
# The program of ascend310_infer is built and run; its log is infer.log, its results are in result_Files and time_Result.
# Then postprocess.py writes COCO's table (also to acc.log), predictions.json and its metrics. All this is written to the
# current folder, or, where that is the scripts', to the folder above scripts.
#
# In the environment:
# LITE_HOME      the unpacked package of MindSpore Lite; on the CPU also the folder mindspore_lite of its wheel
# OUTPUT_DIR     folder instead of the current one
# BUILD_DIR      where the program is built; default build/ascend310_infer of the project
# DEVICE_TARGET  Ascend (default) or CPU; DEVICE_TARGET=CPU runs the network in Python, without the program and Lite
# PREDICTOR      lite (default), or stand_in to try the program without a chip: its detections mean nothing
# DRY_RUN=1      only print what would be run
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../infer_310.sh
source "$(dirname "${BASH_SOURCE[0]}")/../infer_310.sh"

show_help "$0" "$@"
take_device "$@"
set -- "${ARGUMENTS[@]}"
check_usage "$0" 3 4 "$@"
infer_310 "$1" "$2" "$3" "${4:-0}" coco
