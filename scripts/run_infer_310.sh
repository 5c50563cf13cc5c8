#!/usr/bin/env bash
# Predicts images with an exported network on Ascend 310 and evaluates the detections.
#
# usage: bash scripts/run_infer_310.sh [MINDIR_PATH] [DATA_PATH] [ANNO_PATH] [DEVICE_ID]
#        bash scripts/run_infer_310.sh [MINDIR_PATH] [DATA_PATH] [DEVICE_ID]
#
# The first form is NAS-FPN's, the second, which finds the annotations beside the images, RefineDet's; DEVICE_ID is
# optional in both. They take any detector's network. --device CPU after them runs the same program by MindSpore Lite on
# the CPU. The scripts of the same name in scripts/nas_fpn and scripts/refinedet explain theirs with --help, and the
# variables in the environment, such as DEVICE_TARGET=CPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=forms.sh
source "$(dirname "${BASH_SOURCE[0]}")/forms.sh"

FORMS=(
    "refinedet 2 2 *"
    "refinedet 3 3 * * number"
    "nas_fpn   3 4 *"
)
choose_form "$0" "$@"
