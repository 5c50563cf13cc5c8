#!/usr/bin/env bash
# Trains the NAS-FPN RetinaNet on one device.
#
# usage: bash scripts/run_single_train.sh DEVICE_ID MINDRECORD_DIR PRE_TRAINED(optional) PRE_TRAINED_EPOCH_SIZE(optional)
#
# scripts/nas_fpn/run_single_train.sh at the name that its published README has. Its --help explains
# the arguments, what goes where, and the variables in the environment, such as DEVICE_TARGET=CPU.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/nas_fpn/run_single_train.sh" "$@"
