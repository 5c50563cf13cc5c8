#!/usr/bin/env bash
# Evaluates a checkpoint, or predictions saved before, on an Ascend device.
#
# usage: bash scripts/run_eval.sh [CONFIG_PATH] [VAL_DATA] [CHECKPOINT_PATH] (Optional)[PREDICTION_PATH]
#        bash scripts/run_eval.sh [DEVICE_ID] [DATASET] [MINDRECORD_DIR] [CHECKPOINT_PATH] [ANN_FILE PATH]
#        bash scripts/run_eval.sh [DATASET] [CHECKPOINT_PATH] [DEVICE_ID]
#
# The first form evaluates any detector: run_eval_gpu.sh with Ascend as its default device, whose --help explains the
# arguments and the variables in the environment, such as DEVICE_TARGET=CPU. The second is NAS-FPN's, the third
# RefineDet's; the scripts of the same name in scripts/nas_fpn and scripts/refinedet explain theirs with --help.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=config_commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/config_commands.sh"

FORMS=(
    "config    3 4 config*"
    "nas_fpn   5 5 number*"
    "refinedet 3 3 dataset*"
)
choose_form "$0" "$@"
evaluate_with_config Ascend "${PLACED[@]}"
