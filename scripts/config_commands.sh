# shellcheck shell=bash
# Shared by the commands that name a configuration and folders: training, evaluation and detection with any detector.
# They run on the DEFAULT_DEVICE that the command gives unless DEVICE_TARGET says otherwise. The KEYS that
# split_arguments found, --KEY VALUE, override those of the configuration.

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=forms.sh
source "$(dirname "${BASH_SOURCE[0]}")/forms.sh"
# shellcheck source-path=SCRIPTDIR source=launch.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

# train_with_config DEFAULT_DEVICE CONFIG_PATH TRAIN_DATA VAL_DATA TRAIN_OUT BRIEF [PRETRAINED_PATH]: on one device.
train_with_config() {
    local device python
    read_train_arguments "${@:2}"
    device="$(require_device 1 "$1")"
    python="$(project_python)"
    link_log "$TRAIN_OUT" "$BRIEF"
    start "$python" "$PROJECT_ROOT/train.py" --device_target "$device" "${TRAIN_ARGUMENTS[@]}" "${KEYS[@]}"
}

# train_on_several_with_config DEFAULT_DEVICE CONFIG_PATH DEVICE_NUM RANK_TABLE_FILE TRAIN_DATA VAL_DATA TRAIN_OUT BRIEF
# [PRETRAINED_PATH]: with one process per device; an empty RANK_TABLE_FILE stands for none.
train_on_several_with_config() {
    require_number DEVICE_NUM "$3" 1 "$MOST_PROCESSES"
    read_train_arguments "$2" "${@:5}"
    plan_launch "$1" "$3" "$4"
    link_log "$TRAIN_OUT" "$BRIEF"
    launch "$TRAIN_OUT/$BRIEF/processes" "${TRAIN_ARGUMENTS[@]}" "${KEYS[@]}"
}

# evaluate_with_config DEFAULT_DEVICE CONFIG_PATH VAL_DATA CHECKPOINT_PATH [PREDICTION_PATH]
evaluate_with_config() {
    local config val checkpoint device python arguments
    config="$(existing CONFIG_PATH file "$2")"
    val="$(existing VAL_DATA folder "$3")"
    checkpoint="$(existing CHECKPOINT_PATH file "$4")"
    arguments=(--config_path "$config" --val_dataset "$val" --checkpoint_path "$checkpoint")
    if (($# > 4)); then
        arguments+=(--prediction_path "$(realpath -m -- "$5")")
    fi
    device="$(require_device 1 "$1")"
    python="$(project_python)"
    start "$python" "$PROJECT_ROOT/eval.py" --device_target "$device" "${arguments[@]}" "${KEYS[@]}"
}

# detect_with_config DEFAULT_DEVICE CONFIG_PATH CHECKPOINT_PATH PRED_INPUT PRED_OUTPUT
detect_with_config() {
    local config checkpoint input output device python
    config="$(existing CONFIG_PATH file "$2")"
    checkpoint="$(existing CHECKPOINT_PATH file "$3")"
    input="$(existing PRED_INPUT any "$4")"
    output="$(realpath -m -- "$5")"
    device="$(require_device 1 "$1")"
    python="$(project_python)"
    start "$python" "$PROJECT_ROOT/infer.py" --device_target "$device" --config_path "$config" \
        --checkpoint_path "$checkpoint" --pred_input "$input" --pred_output "$output" "${KEYS[@]}"
}

# read_train_arguments CONFIG_PATH TRAIN_DATA VAL_DATA TRAIN_OUT BRIEF [PRETRAINED_PATH]: checks them and sets
# TRAIN_OUT, BRIEF and TRAIN_ARGUMENTS, the array for train.py.
read_train_arguments() {
    local config train val pretrained
    config="$(existing CONFIG_PATH file "$1")"
    train="$(existing TRAIN_DATA folder "$2")"
    val="$(existing VAL_DATA folder "$3")"
    TRAIN_OUT="$(realpath -m -- "$4")"
    BRIEF="$5"
    [[ "$BRIEF" != */* && "$BRIEF" != "" && "$BRIEF" != .* ]] || fail "BRIEF: must be a plain name, not '$BRIEF'"
    TRAIN_ARGUMENTS=(--config_path "$config" --train_dataset "$train" --val_dataset "$val"
        --train_outputs "$TRAIN_OUT" --brief "$BRIEF")
    if (($# > 5)); then
        pretrained="$(existing PRETRAINED_PATH file "$6")"
        TRAIN_ARGUMENTS+=(--pre_trained "$pretrained")
    fi
}

# The results of a training are also reachable from where it was started: LOG/BRIEF -> TRAIN_OUT/BRIEF.
link_log() {
    local outputs="$1" brief="$2" link="LOG/$2"
    if dry_run; then
        return 0
    fi
    mkdir -p -- "$outputs/$brief" || fail "TRAIN_OUT: cannot write to $outputs"
    if [[ -e "$link" && ! -L "$link" ]]; then
        echo "note: $PWD/$link is not a link, so it is left alone; the results are in $outputs/$brief"
    elif mkdir -p LOG 2>/dev/null && ln -sfn -- "$outputs/$brief" "$link" 2>/dev/null; then
        echo "results: $outputs/$brief (also $PWD/$link)"
    else
        echo "results: $outputs/$brief"
    fi
}
