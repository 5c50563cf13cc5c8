#!/usr/bin/env bash
# All measurements on a machine with a GPU, one after the other; one that fails or hangs does not keep the others back.
#
# usage: bash benchmarks/gpu/run_all.sh OUTPUT [STEP]...
#
# OUTPUT  folder for each step's log, results.json and table.txt
# STEP    only these: roi_align, smoke, datasink, step_DETECTOR_O0, step_DETECTOR_O2, peer_DETECTOR_float32,
#         peer_DETECTOR_autocast, evaluation, training
#
# In the environment:
# PYTHON         a Python with this project's packages and MindSpore for GPUs; default .venv/bin/python, or python3
# TORCH_PYTHON   a Python with PyTorch for CUDA and torchvision; default python3
# BCCD           folder with BCCD in COCO's form, for the training; default bccd, left out where it is not there
# DEVICE_TARGET  GPU (default) or CPU
# BATCH          images per step; default 4
# AT_ONCE=1      compile all networks of one precision at the same time; their steps are timed one after another still
# DRY_RUN=1      only print the commands
#
# BENCHMARKS.md has what an H200 gave.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"

show_help "$0" "${1:-}"
(($# >= 1)) || fail "run_all.sh takes a folder for what it writes"
OUTPUT="$(realpath -m -- "$1")"
CHOSEN=("${@:2}")
PROGRAM="$(project_python)"
TORCH="${TORCH_PYTHON:-python3}"
DEVICE="${DEVICE_TARGET:-GPU}"
BCCD="$(realpath -m -- "${BCCD:-bccd}")"
DETECTORS=(spinenet nas_fpn mask_rcnn cascade_mask_rcnn refinedet)
PEERS=(spinenet nas_fpn mask_rcnn refinedet) # torchvision has no Cascade R-CNN
GPU_BENCHMARKS="$PROJECT_ROOT/benchmarks/gpu"

chosen() {
    local name
    ((${#CHOSEN[@]} > 0)) || return 0
    for name in "${CHOSEN[@]}"; do
        [[ "$name" != "$1" ]] || return 0
    done
    return 1
}

# step NAME SECONDS COMMAND...: runs a command with a time limit, its output to OUTPUT/NAME.log.
step() {
    local name="$1" limit="$2" status=0 started=$SECONDS
    shift 2
    chosen "$name" || return 0
    if dry_run; then
        echo "$name: $(show_command timeout "$limit" "$@")"
        return
    fi
    echo "== $name"
    timeout --kill-after 10 "$limit" "$@" >"$OUTPUT/$name.log" 2>&1 || status=$?
    printf '%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - started))" >>"$OUTPUT/steps.tsv"
    tail -n 2 -- "$OUTPUT/$name.log"
}

# train_step NAME PYTHON PROGRAM DETECTOR ARGUMENT...: with AT_ONCE in the background.
train_step() {
    local name="$1"
    step "$name" 600 "$2" "$3" --detector "$4" --device "$DEVICE" --batch "${BATCH:-4}" "${@:5}" &
    [[ -n "${AT_ONCE:-}" ]] || wait
}

if ! dry_run; then
    mkdir -p -- "$OUTPUT" || fail "cannot write to $OUTPUT"
    rm -f -- "$OUTPUT/steps.tsv"
    nvidia-smi >"$OUTPUT/nvidia_smi.txt" 2>&1 || true
fi
cd "$PROJECT_ROOT"
step roi_align 300 "$TORCH" "$GPU_BENCHMARKS/roi_align.py"
step smoke 300 "$PROGRAM" "$GPU_BENCHMARKS/smoke.py" --device "$DEVICE"
step datasink 300 "$PROGRAM" "$GPU_BENCHMARKS/datasink.py" --device "$DEVICE"
for precision in "O0 float32" "O2 autocast"; do
    read -r ours theirs <<<"$precision"
    [[ -z "${AT_ONCE:-}" ]] || export TURNS="$OUTPUT/turns.lock"
    for detector in "${DETECTORS[@]}"; do
        train_step "step_${detector}_$ours" "$PROGRAM" "$GPU_BENCHMARKS/train_step.py" "$detector" --amp_level "$ours"
    done
    for detector in "${PEERS[@]}"; do
        train_step "peer_${detector}_$theirs" "$TORCH" "$GPU_BENCHMARKS/torch_train_step.py" "$detector" \
            --precision "$theirs"
    done
    wait
    unset TURNS
done
step evaluation 600 "$PROGRAM" "$GPU_BENCHMARKS/evaluation.py" --device "$DEVICE" --output_dir "$OUTPUT/evaluation"
if dry_run || [[ -d "$BCCD" ]]; then
    step training 1200 "$PROGRAM" train.py --config_path configs/refinedet/refinedet_r18_bccd_320.yaml \
        --train_dataset "$BCCD/annotations/instances_train.json" --val_dataset "$BCCD/annotations/instances_val.json" \
        --device_target "$DEVICE" --train_outputs "$OUTPUT" --brief bccd
fi
if ! dry_run; then
    "$PROGRAM" "$GPU_BENCHMARKS/summary.py" "$OUTPUT" | tee "$OUTPUT/table.txt"
fi
