# shellcheck shell=bash
# Shared by the run_infer_310.sh of the models: inference on Ascend 310 and evaluation of what it wrote.
#
# The program runs on the chip or, with --device CPU, on the CPU, by MindSpore Lite in both cases. DEVICE_TARGET=CPU has
# the exported network run in Python instead. Everything else is the same.

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# take_device "$@": sets DEVICE to what --device says, empty where it is not there, and ARGUMENTS to the other words.
take_device() {
    DEVICE="" ARGUMENTS=()
    while (($# > 0)); do
        if [[ "$1" == --device=* ]]; then
            DEVICE="${1#*=}"
        elif [[ "$1" == --device ]]; then
            (($# > 1)) || fail "--device: its value is missing: CPU or Ascend"
            DEVICE="$2"
            shift
        else
            ARGUMENTS+=("$1")
        fi
        shift
    done
    [[ "$DEVICE" =~ ^(CPU|Ascend|)$ ]] || fail "--device: must be CPU or Ascend, not '$DEVICE'"
}

# infer_310 MINDIR_PATH DATA_PATH ANNO_PATH DEVICE_ID DATASET: predicts the images of DATA_PATH and evaluates the result
# files, on DEVICE. ANNO_PATH: COCO annotations, or what postprocess.py takes for the DATASET (coco, voc, other, yolo,
# ...). Writes infer.log, acc.log, result_Files, time_Result, predictions.json and its metrics to OUTPUT_DIR, or to
# results_folder when that is not set.
infer_310() {
    local mindir data anno python output build arguments
    mindir="$(existing MINDIR_PATH file "$1")"
    data="$(existing DATA_PATH folder "$2")"
    anno="$(existing ANNO_PATH any "$3")"
    require_number DEVICE_ID "$4" 0
    python="$(project_python)"
    output="$(realpath -m -- "${OUTPUT_DIR:-$(results_folder)}")"
    build="$(realpath -m -- "${BUILD_DIR:-$PROJECT_ROOT/build/ascend310_infer}")"
    if ! dry_run && ! { mkdir -p -- "$output" && cd -- "$output" && : >infer.log && : >acc.log; } 2>/dev/null; then
        fail "cannot write to $output"
    fi

    arguments=(--mindir_path "$mindir" --dataset_path "$data" --output_path "$output" --device_id "$4")
    if [[ "$5" == coco && -f "$anno" ]]; then
        arguments+=(--anno_path "$anno") # for the sizes of the images
    fi
    if [[ -z "$DEVICE" && "${DEVICE_TARGET:-Ascend}" == CPU ]]; then
        dry_run || echo "== predicting on the CPU; the log is in $output/infer.log"
        logged infer.log env PYTHONPATH="$PROJECT_ROOT" "$python" -m src.commands.infer_files "${arguments[@]}"
    else
        predict_by_program "$build" "${arguments[@]}"
    fi
    dry_run || echo "== evaluating; the table is also in $output/acc.log"
    logged acc.log "$python" "$PROJECT_ROOT/postprocess.py" --mindir_path "$mindir" --result_path "$output/result_Files" \
        --anno_path "$anno" --img_path "$data" --dataset "$5" --prediction_path "$output/predictions.json"
}

# results_folder: prints where results go: here, or, for a caller among the scripts, the folder above them, as RefineDet's
# published README has it.
results_folder() {
    if [[ "$(pwd -P)/" == "$(realpath -- "$PROJECT_ROOT")/scripts/"* ]]; then
        echo "$PROJECT_ROOT"
    else
        echo .
    fi
}

# predict_by_program BUILD ARGUMENT...: builds the program in the folder BUILD and runs it on DEVICE.
predict_by_program() {
    local predictor="${PREDICTOR:-lite}" build="$1" folder
    shift
    [[ -n "$DEVICE" || "${DEVICE_TARGET:-Ascend}" == Ascend ]] || fail "DEVICE_TARGET: must be Ascend or CPU, not '$DEVICE_TARGET'"
    [[ "$predictor" == lite || "$predictor" == stand_in ]] || fail "PREDICTOR: must be lite or stand_in, not '$predictor'"
    if [[ "$predictor" == lite ]]; then
        [[ "$DEVICE" == CPU ]] || DEVICE_TARGET=Ascend require_device 1 >/dev/null
        export LITE_HOME="${LITE_HOME:-${MS_LITE_HOME:-}}"
        if ! dry_run && [[ ! -f "$LITE_HOME/runtime/include/api/model.h" && ! -f "$LITE_HOME/include/api/model.h" ]]; then
            fail "LITE_HOME: no MindSpore Lite in '$LITE_HOME'; ascend310_infer/README.md says where to get it"
        fi
        for folder in lib runtime/lib runtime/third_party/glog runtime/third_party/dnnl tools/converter/lib; do
            export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$LITE_HOME/$folder"
        done
    fi
    build_program "$build" "$predictor"
    dry_run || echo "== predicting on ${DEVICE:-the chip}; the log is in $PWD/infer.log"
    logged infer.log "$build/main" "$@" ${DEVICE:+--device "$DEVICE"}
}

# build_program BUILD PREDICTOR: builds the program in the folder BUILD.
build_program() {
    local configure=(cmake -S "$PROJECT_ROOT/ascend310_infer" -B "$1" -DPREDICTOR="$2")
    local compile=(cmake --build "$1" --parallel)
    if dry_run; then
        run "${configure[@]}"
        run "${compile[@]}"
        return 0
    fi
    command -v cmake >/dev/null || fail "cmake not found: install it ($(install_command cmake g++))"
    echo "== building ascend310_infer in $1; the log is in $PWD/infer.log"
    if ! { "${configure[@]}" && "${compile[@]}"; } >>infer.log 2>&1; then
        grep -iA 4 -m 1 error infer.log >&2 || true
        fail "ascend310_infer could not be built; $PWD/infer.log says more"
    fi
}

# logged FILE COMMAND...: what the command prints is also added to FILE; its exit code stays. A dry run only prints it.
logged() {
    local file="$1"
    shift
    if dry_run; then
        run "$@"
        return 0
    fi
    {
        "$@" 2>&1 >&3 | tee -a -- "$file" >&2
    } 3>&1 | tee -a -- "$file"
}
