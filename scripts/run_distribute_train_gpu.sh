#!/usr/bin/env bash
# Trains on several devices of this machine, one process a device.
#
# usage: bash scripts/run_distribute_train_gpu.sh [CONFIG_PATH] [DEVICE_NUM] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] (OPTIONAL)[PRETRAINED_PATH]
#
# CONFIG_PATH      path to the configuration file (configs/*/*.yaml)
# DEVICE_NUM       number of devices; the total batch is DEVICE_NUM x batch_size
# TRAIN_DATA       path to the training set: a folder with data/ and labels.json, or one of COCO's own layout
# VAL_DATA         path to the validation set
# TRAIN_OUT        path to the folder with training experiments; made when it is not there
# BRIEF            short name of this experiment: everything is stored in TRAIN_OUT/BRIEF, also reachable as LOG/BRIEF
# PRETRAINED_PATH  path to a checkpoint to start from
#
# On GPUs the processes are started by mpirun (OpenMPI must be installed). DEVICE_TARGET=CPU in the environment runs
# DEVICE_NUM processes on the CPU, started by MindSpore's msrun. When one process fails, the whole run ends.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"


# Start train.py through mpirun, which ends all processes when one fails.
run_with_mpirun() {
    local number="$1" python="$2" logs="$3" options=()
    shift 3
    command -v mpirun >/dev/null || fail "mpirun not found: install OpenMPI (apt-get install openmpi-bin)"
    if ((EUID == 0)); then
        options+=(--allow-run-as-root)
    fi
    exec mpirun "${options[@]}" -n "$number" --output-filename "$logs" --merge-stderr-to-stdout \
        "$python" "$PROJECT_ROOT/train.py" "$@"
}

# Ask the processes that msrun (its id: $1) started to save and stop. It would kill them itself, saving nothing.
stop_workers() {
    local child
    echo "stopping: asking every process to save its work" >&2
    # shellcheck disable=SC2013 # words are wanted: the ids stand on one line
    for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
        if grep -qz '^MS_ROLE=MS_WORKER$' "/proc/$child/environ" 2>/dev/null; then
            kill -TERM "$child" 2>/dev/null || true
        fi
    done
}

# Print the end of the log of every process that failed; processes that say the same are shown once.
show_failures() {
    local logs="$1" log message shown=""
    for log in "$logs"/worker_*.log; do
        if grep -qE '^error: |Error|Traceback' "$log" 2>/dev/null; then
            message="$(tail -n 20 "$log")"
            if [[ "$shown" != *"$message"* ]]; then
                echo "== $log ends with:" >&2
                echo "$message" >&2
                shown+="$message"
            fi
        fi
    done
}

# Start train.py through msrun, with the output of process 0 on the console and that of every process in a file.
run_with_msrun() {
    local number="$1" python="$2" logs="$3" port msrun status=0 stopped=0
    shift 3
    rm -rf -- "$logs"
    mkdir -p -- "$logs"
    port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    # msrun starts 'python3' as PATH finds it. It gets a session of its own, so that Ctrl-C reaches only this script.
    GLOG_v=3 PATH="$(dirname -- "$python"):$PATH" setsid "$python" -m mindspore.parallel.cluster.run \
        --worker_num="$number" --local_worker_num="$number" --master_port="$port" --log_dir="$logs" --join=True \
        --tail_worker_log=0 python3 "$PROJECT_ROOT/train.py" "$@" 2>"$logs/msrun.log" &
    msrun=$!
    trap 'stopped=130; stop_workers "$msrun"' INT
    trap 'stopped=143; stop_workers "$msrun"' TERM
    wait "$msrun" || status=$?
    while kill -0 "$msrun" 2>/dev/null; do # the wait above ends early when a signal comes
        wait "$msrun" || status=$?
    done
    if ((stopped != 0)); then
        return "$stopped"
    fi
    if ((status != 0)); then
        show_failures "$logs"
        echo "error: a process failed, so the whole run was ended; the output of every process is in $logs" >&2
    fi
    return "$status"
}

check_usage "$0" 6 7 "$@"
number="$2"
[[ "$number" =~ ^[1-9][0-9]*$ ]] || fail "DEVICE_NUM: must be a whole number from 1, not '$number'"
read_train_arguments "$1" "${@:3}"
device="$(require_device "$number")"
python="$(project_python)"
link_log "$TRAIN_OUT" "$BRIEF"
launcher=run_with_msrun
if [[ "$device" == GPU ]]; then
    launcher=run_with_mpirun
fi
"$launcher" "$number" "$python" "$TRAIN_OUT/$BRIEF/processes" \
    --device_target "$device" --run_distribute 1 --device_num "$number" "${TRAIN_ARGUMENTS[@]}"
