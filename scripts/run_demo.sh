#!/usr/bin/env bash
# Sets up the environment and shows a detector learn: data, training, evaluation, inference, pictures.
#
# usage: bash scripts/run_demo.sh [MODEL] [--KEY VALUE]...
#
# MODEL        a demo of configs/demo, which configs/demo/demos.txt lists with its data; default spinenet_retinanet
# --KEY VALUE  any key of the configuration, for the training; for example --epoch_size 1
#
# In the environment:
# DEMO_DIR           folder for everything that is written; default demo_output/MODEL
# DEMO_TRAIN_IMAGES  number of synthetic training images; default 2000
# DEMO_VAL_IMAGES    number of synthetic held-out images; default 200
# DEMO_MIN_AP        the box AP (or AP50) that must be reached, else the exit code is 1; default: that of
#                    configs/demo/demos.txt, or 0 when a --KEY was given
# DEMO_MIN_MASK_AP   the same for the mask AP (or AP50) of models with masks
# DEVICE_TARGET      CPU (default), GPU or Ascend
# DRY_RUN=1          only print what would be run
#
# Running it again makes no new data; it continues a training that was interrupted, and restarts one that was finished.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

known_models() {
    awk '!/^(#|$)/ { print $1 }' "$PROJECT_ROOT/configs/demo/demos.txt"
}

# read_facts MODEL: sets FLOORS (METRIC=VALUE,...) and FACTS_OF_DATA (a folder, or options of the generator).
read_facts() {
    local name
    while read -r name FLOORS FACTS_OF_DATA; do
        if [[ "$name" == "$1" ]]; then
            return 0
        fi
    done <"$PROJECT_ROOT/configs/demo/demos.txt"
    fail "no demo of '$1'; there are: $(known_models | tr '\n' ' ')"
}

is_synthetic() {
    [[ "$FACTS_OF_DATA" == --* ]]
}

has_masks() {
    [[ "$FLOORS" == *segm_mAP* ]]
}

step() {
    echo
    echo "== $* [$((SECONDS / 60)) min $((SECONDS % 60)) s]"
}

# start_heartbeat [FILE]: until stop_heartbeat, says that work goes on whenever FILE is unchanged for ten seconds
# (MindSpore compiles a network for up to a minute without a word); without a FILE, every ten seconds.
start_heartbeat() {
    local file="${1:-}" started=$SECONDS
    if dry_run; then
        return 0
    fi
    while sleep 10 >/dev/null 2>&1; do
        if [[ -z "$file" || -z "$(find "$file" -newermt '10 seconds ago' 2>/dev/null)" ]]; then
            echo "   ... still working, $((SECONDS - started)) s"
        fi
    done &
    HEARTBEAT=$!
}

stop_heartbeat() {
    if [[ -n "$HEARTBEAT" ]]; then
        kill "$HEARTBEAT" 2>/dev/null || true
        wait "$HEARTBEAT" 2>/dev/null || true
        HEARTBEAT=""
    fi
}

# Models with masks pool regions with a custom operator, which is compiled for the device.
build_kernels() {
    local target=cpu
    if [[ "$DEVICE" == GPU ]]; then
        target=cuda
    fi
    if has_masks && [[ "$DEVICE" != Ascend ]]; then # Ascend has the operator built in
        echo "== compiling RoIAlign"
        run env PYTHON="$PYTHON_OF_DEMO" bash "$PROJECT_ROOT/scripts/build_custom.sh" "$target"
    fi
}

# The generator keeps a data set that it made with the same options; other options, or another generator, make a new one.
make_data() {
    local options recipe
    read -ra options <<<"--train $TRAIN_IMAGES --val $VAL_IMAGES $FACTS_OF_DATA"
    recipe="${options[*]} $(cat -- src/data/synthetic*.py | sha256sum | cut -d' ' -f1)"
    if ! dry_run && [[ "$(cat -- "$DATA/recipe.txt" 2>/dev/null)" != "$recipe" ]]; then
        rm -rf -- "$DATA"
        mkdir -p -- "$DATA"
        echo "$recipe" >"$DATA/recipe.txt"
    fi
    run "$PYTHON_OF_DEMO" -m src.data.synthetic --output_dir "$DATA" "${options[@]}"
}

# What a training was started with is kept while it runs: only the same command continues it.
train() {
    local unfinished="$OUTPUT/training_unfinished.txt" command="train.py $*"
    local resume=()
    if [[ "$(cat -- "$unfinished" 2>/dev/null)" == "$command" && -e "$RUN/checkpoints/last.ckpt" ]]; then
        echo "continuing the interrupted training in $RUN"
        resume=(--resume 1)
    elif ! dry_run; then
        rm -rf -- "$RUN"
        echo "$command" >"$unfinished"
    fi
    run "$PYTHON_OF_DEMO" train.py --config_path "$CONFIG" --device_target "$DEVICE" --train_dataset "$DATA/train" \
        --val_dataset "$DATA/validation" --train_outputs "$OUTPUT" --brief training "$@" "${resume[@]}"
    run rm -f -- "$unfinished"
}

evaluate() {
    run "$PYTHON_OF_DEMO" eval.py --config_path "$RUN/config.yaml" --device_target "$DEVICE" \
        --val_dataset "$DATA/validation" --checkpoint_path "$RUN/checkpoints/best.ckpt"
}

infer_and_draw() {
    run "$PYTHON_OF_DEMO" infer.py --config_path "$RUN/config.yaml" --device_target "$DEVICE" \
        --checkpoint_path "$RUN/checkpoints/best.ckpt" --pred_input "$DATA/validation/data" \
        --pred_output "$OUTPUT/predictions.json"
    run rm -rf -- "$OUTPUT/pictures"
    run "$PYTHON_OF_DEMO" draw_predictions.py --pred_json "$OUTPUT/predictions.json" --output_dir "$OUTPUT/pictures" \
        --annotations "$DATA/validation" --page 1
}

# report: prints where everything is, what to do next, and AP; fails when an AP is below its floor.
report() {
    cat <<END
pictures (ground truth left, predictions right): $OUTPUT/pictures
training curves:                                 $RUN/curves.png
checkpoint:                                      $RUN/checkpoints/best.ckpt
predictions:                                     $OUTPUT/predictions.json

What to try next:
  detect in your own images:  $PYTHON_OF_DEMO infer.py --config_path $RUN/config.yaml --checkpoint_path $RUN/checkpoints/best.ckpt --pred_input FOLDER --pred_output found.json
  see what the network sees:  $PYTHON_OF_DEMO browse_dataset.py --config_path $RUN/config.yaml --output_dir $OUTPUT/browse
  train longer:               bash scripts/run_demo.sh $MODEL --epoch_size 30
  train on your own data:     docs/training.md, 'Train on your own images'

END
    check_floors
}

# A --KEY changes the training, which then has no floors but those of the environment.
check_floors() {
    local without=0
    if ((CHANGED_KEYS > 0)); then
        without=1
    fi
    "$PYTHON_OF_DEMO" - "$RUN/checkpoints/best_metrics.json" "$FLOORS" "$without" <<'PYTHON'
import json
import os
import sys

with open(sys.argv[1]) as file:
    stats = json.load(file)["stats"]
too_low = []
for floor in sys.argv[2].split(","):
    key, minimum = floor.split("=")
    of_masks = key.startswith("segm")
    name = ("mask " if of_masks else "") + ("AP50" if key.endswith("_50") else "AP")
    default = 0.0 if sys.argv[3] == "1" else minimum
    minimum = float(os.environ.get("DEMO_MIN_MASK_AP" if of_masks else "DEMO_MIN_AP") or default)
    overlaps = "" if key.endswith("_50") else " (0.50:0.95)"
    print(f"{name}{overlaps} on the held-out images: {stats[key]:.3f}; asked for: {minimum:.2f}")
    if stats[key] < minimum:
        too_low.append(f"{name} {stats[key]:.3f} is under {minimum:.2f}")
if too_low:
    sys.exit("error: " + "; ".join(too_low))
PYTHON
}

for argument in "$@"; do
    if [[ "$argument" == -h || "$argument" == --help ]]; then
        usage_of "$0"
        echo
        echo "models: $(known_models | tr '\n' ' ')"
        exit 0
    fi
done
MODEL=spinenet_retinanet
if (($# > 0)) && [[ "$1" != --* ]]; then
    MODEL="$1"
    shift
fi
read_facts "$MODEL"
CHANGED_KEYS=$#
CONFIG="$PROJECT_ROOT/configs/demo/$MODEL.yaml"
OUTPUT="$(realpath -m -- "${DEMO_DIR:-$PROJECT_ROOT/demo_output/$MODEL}")"
if is_synthetic; then
    DATA="$OUTPUT/data"
else
    DATA="$PROJECT_ROOT/$FACTS_OF_DATA"
fi
RUN="$OUTPUT/training"
TRAIN_IMAGES="${DEMO_TRAIN_IMAGES:-2000}"
VAL_IMAGES="${DEMO_VAL_IMAGES:-200}"
DEVICE_TARGET="${DEVICE_TARGET:-CPU}"
DEVICE="$(require_device 1)"

HEARTBEAT=""
trap stop_heartbeat EXIT
step "1/5 environment"
bash "$PROJECT_ROOT/scripts/setup_env.sh"
PYTHON_OF_DEMO="$VENV_DIR/bin/python"
run mkdir -p -- "$OUTPUT"
cd "$PROJECT_ROOT"
build_kernels
if is_synthetic; then
    step "2/5 data: synthetic images in $DATA"
    make_data
else
    step "2/5 data: pictures in $DATA"
fi
step "3/5 training $MODEL in $RUN"
start_heartbeat "$RUN/train.log"
train "$@"
stop_heartbeat
step "4/5 evaluation of the best checkpoint"
start_heartbeat
evaluate
stop_heartbeat
step "5/5 inference and pictures"
start_heartbeat
infer_and_draw
stop_heartbeat
if dry_run; then
    exit 0
fi
step "done"
report
