# shellcheck shell=bash
# Shared by the commands of scripts/nas_fpn and scripts/refinedet, which name devices instead of folders to write to.
# They run on Ascend (those named _gpu: on GPUs) unless DEVICE_TARGET says otherwise, and write to OUTPUT_DIR, or where
# the command says when that is not set.

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=launch.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

# add_config DEFAULT: the configuration to ARGUMENTS: CONFIG_PATH when set, else DEFAULT, the choice of the program where
# that is empty (src/commands/default_config.py).
add_config() {
    local config
    if [[ -n "${CONFIG_PATH:-}" ]]; then
        config="$(existing CONFIG_PATH file "$CONFIG_PATH")"
        ARGUMENTS+=(--config_path "$config")
    elif [[ -n "$1" ]]; then
        ARGUMENTS+=(--config_path "$PROJECT_ROOT/$1")
    fi
}

# add_schedule EPOCH_SIZE LR: to ARGUMENTS.
add_schedule() {
    require_number EPOCH_SIZE "$1" 1
    [[ "$2" =~ ^[0-9]*\.?[0-9]+(e-?[0-9]+)?$ ]] || fail "LR: must be a number, not '$2'"
    ARGUMENTS+=(--epoch_size "$1" --lr "$2")
}

# add_dataset DATASET: which annotations, to ARGUMENTS.
add_dataset() {
    case "$1" in
        coco | voc | other) ARGUMENTS+=(--dataset "$1") ;;
        *) fail "DATASET: must be coco, voc or other, not '$1'" ;;
    esac
}

# add_mindrecord MINDRECORD_DIR: packed data, to ARGUMENTS; an empty MINDRECORD_DIR stands for the images themselves.
add_mindrecord() {
    local folder=""
    if [[ -n "$1" ]]; then
        [[ -d "$1" ]] || fail "MINDRECORD_DIR: no such folder: $1; create_data.py makes one, '' trains on the images"
        folder="$(realpath -s -- "$1")"
    fi
    ARGUMENTS+=(--mindrecord_dir "$folder")
}

# add_pre_trained [PRE_TRAINED [PRE_TRAINED_EPOCH_SIZE]]: the checkpoint to start from, and how many epochs of the
# schedule it has behind it, to ARGUMENTS.
add_pre_trained() {
    local checkpoint
    if (($# > 0)) && [[ -n "$1" ]]; then
        checkpoint="$(existing PRE_TRAINED file "$1")"
        ARGUMENTS+=(--pre_trained "$checkpoint")
    fi
    if (($# > 1)); then
        [[ -n "$1" || "$2" == 0 ]] || fail "PRE_TRAINED_EPOCH_SIZE: $2 epochs are done, but PRE_TRAINED is empty"
        require_number PRE_TRAINED_EPOCH_SIZE "$2" 0
        ARGUMENTS+=(--pre_trained_epoch_size "$2")
    fi
}

# train_on_one FOLDER DEFAULT_DEVICE DEVICE_ID: trains with ARGUMENTS and KEYS on one device. The run is FOLDER/ckpt, what
# it prints also FOLDER/log.txt.
train_on_one() {
    local folder device python
    require_number DEVICE_ID "$3" 0
    device="$(require_device 1 "$2")"
    python="$(project_python)"
    folder="$(realpath -m -- "${OUTPUT_DIR:-$1}")"
    add_run_folder "$folder"
    start_run "$folder"
    start "$python" "$PROJECT_ROOT/train.py" --device_target "$device" --device_id "$3" "${ARGUMENTS[@]}" "${KEYS[@]}"
}

# train_on_several FOLDER DEFAULT_DEVICE DEVICE_NUM [RANK_TABLE_FILE]: the same on several devices, with one process for
# each; FOLDER/ckpt/processes has what each one prints. An empty RANK_TABLE_FILE stands for msrun.
train_on_several() {
    local folder
    plan_launch "${@:2}"
    folder="$(realpath -m -- "${OUTPUT_DIR:-$1}")"
    add_run_folder "$folder"
    start_run "$folder"
    launch "$folder/ckpt/processes" "${ARGUMENTS[@]}" "${KEYS[@]}"
}

# evaluate_on_one LOG DEFAULT_DEVICE DEVICE_ID CHECKPOINT_PATH: evaluates with ARGUMENTS and KEYS; what it prints goes to
# LOG too.
evaluate_on_one() {
    local log device python checkpoint
    require_number DEVICE_ID "$3" 0
    checkpoint="$(existing CHECKPOINT_PATH file "$4")"
    device="$(require_device 1 "$2")"
    python="$(project_python)"
    log="$(realpath -m -- "${OUTPUT_DIR:-.}/$1")"
    copy_output_to "$log"
    start "$python" "$PROJECT_ROOT/eval.py" --device_target "$device" --device_id "$3" "${ARGUMENTS[@]}" \
        --checkpoint_path "$checkpoint" "${KEYS[@]}"
}

# add_run_folder FOLDER: to ARGUMENTS, keys that put everything of a run, its checkpoints too, into FOLDER/ckpt.
add_run_folder() {
    ARGUMENTS+=(--train_outputs "$1" --brief ckpt --save_checkpoint_path "$1/ckpt")
}

# start_run FOLDER: refuses to write over another run, and logs to FOLDER/log.txt.
start_run() {
    if ! dry_run && [[ -e "$1/ckpt/last.ckpt" && " ${KEYS[*]} " != *" --resume"* ]]; then
        fail "$1/ckpt holds a training already; add --resume 1 to continue it, or set OUTPUT_DIR to another folder"
    fi
    copy_output_to "$1/log.txt"
}

# copy_output_to FILE: what this script prints from here on is also added to FILE, after a line with the date and the
# command where FILE has the output of an earlier one.
copy_output_to() {
    if dry_run; then
        return 0
    fi
    if ! mkdir -p -- "$(dirname -- "$1")" 2>/dev/null || ! touch -- "$1" 2>/dev/null; then
        fail "cannot write to $1"
    fi
    echo "output: also in $1"
    if [[ -s "$1" ]]; then
        printf '\n== %s: %s\n' "$(date '+%F %T %z')" "$(show_command bash "$0" "${PLACED[@]}" "${KEYS[@]}")" >>"$1"
    fi
    # tee -i: Ctrl-C is meant for the program, whose last words tee must still write
    exec > >(exec tee -ia -- "$1") 2> >(exec tee -ia -- "$1" >&2)
}
