# shellcheck shell=bash
# Starts train.py in several processes, one per device, and ends them together. Sourced after common.sh.
#
# plan_launch checks what is asked for; launch LOGS ARGUMENT... then trains. The output of process 0 goes to the
# console, that of each process to LOGS/worker_RANK.log (mpirun: to one folder per process). The launcher is
#   mpirun      GPUs
#   msrun       MindSpore's own: CPU, Ascend, GPUs
#   rank_table  Ascend: one process for each device that read_rank_table found on this machine

# What read_rank_table leaves here: 'RANK DEVICE_ID' for each device of this machine, and the path of the table.
LOCAL_DEVICES=()
RANK_TABLE=""

# read_rank_table FILE NUMBER PYTHON: checks it and sets LOCAL_DEVICES and RANK_TABLE.
read_rank_table() {
    local listed
    RANK_TABLE="$(existing RANK_TABLE_FILE file "$1")"
    listed="$(cd "$PROJECT_ROOT" && "$3" -B -m src.model_utils.rank_table "$RANK_TABLE" "$2")" || exit $?
    mapfile -t LOCAL_DEVICES <<<"$listed"
}

# launcher_for DEVICE: prints the launcher: LAUNCHER when set, else the usual one of DEVICE.
launcher_for() {
    local default=msrun known="msrun"
    case "$1" in
        GPU) default=mpirun known="mpirun or msrun" ;;
        Ascend)
            known="rank_table or msrun"
            if [[ -n "$RANK_TABLE" ]]; then
                default=rank_table
            fi
            ;;
    esac
    local chosen="${LAUNCHER:-$default}"
    [[ " $known " == *" $chosen "* ]] || fail "LAUNCHER: must be $known on $1, not '$chosen'"
    if [[ "$chosen" == rank_table && -z "$RANK_TABLE" ]]; then
        fail "LAUNCHER=rank_table needs a RANK_TABLE_FILE"
    fi
    echo "$chosen"
}

# plan_launch DEFAULT_DEVICE NUMBER [RANK_TABLE_FILE]: checks that NUMBER processes can be started, and sets DEVICE and
# how launch starts them. An empty RANK_TABLE_FILE stands for msrun.
plan_launch() {
    PROCESSES="$2"
    require_number DEVICE_NUM "$PROCESSES" 1
    DEVICE="$(require_device 1 "$1")"
    PROGRAM="$(project_python)"
    if [[ -n "${3:-}" ]]; then
        read_rank_table "$3" "$PROCESSES" "$PROGRAM"
    fi
    require_device "$((${#LOCAL_DEVICES[@]} > 0 ? ${#LOCAL_DEVICES[@]} : PROCESSES))" "$1" >/dev/null
    CHOSEN_LAUNCHER="$(launcher_for "$DEVICE")"
}

# launch LOGS ARGUMENT...: trains with the processes of plan_launch.
launch() {
    local command=("$PROCESSES" "$PROGRAM" "$1" --device_target "$DEVICE" --run_distribute 1 --device_num "$PROCESSES"
        "${@:2}")
    if [[ "$CHOSEN_LAUNCHER" == msrun ]] && ((${#LOCAL_DEVICES[@]} > 0 && ${#LOCAL_DEVICES[@]} < PROCESSES)); then
        fail "LAUNCHER=msrun: this script starts one machine, the rank table has several; use LAUNCHER=rank_table"
    fi
    if dry_run; then
        show_processes "$CHOSEN_LAUNCHER" "${command[@]}"
    else
        "run_with_$CHOSEN_LAUNCHER" "${command[@]}"
    fi
}

# The devices of the rank table, '4,5,6,7'. msrun counts from 0 among the visible ones.
visible_devices() {
    printf '%s\n' "${LOCAL_DEVICES[@]}" | cut -d ' ' -f 2 | paste -sd ,
}

# What launch would start, one line per process of this machine.
show_processes() {
    local launcher="$1" number="$2" python="$3" entry rank device devices=() extra=() variables
    for ((rank = 0; rank < number; rank++)); do
        devices+=("$rank $rank")
    done
    if [[ "$launcher" == rank_table ]]; then
        devices=("${LOCAL_DEVICES[@]}")
        extra=(RANK_TABLE_FILE="$RANK_TABLE")
    elif ((${#LOCAL_DEVICES[@]} > 0)); then
        extra=(ASCEND_RT_VISIBLE_DEVICES="$(visible_devices)")
    fi
    echo "dry run: $launcher would start ${#devices[@]} of $number processes on this machine"
    for entry in "${devices[@]}"; do
        read -r rank device <<<"$entry"
        variables=(RANK_ID="$rank" RANK_SIZE="$number" DEVICE_ID="$device" "${extra[@]}")
        echo "rank $rank: $(show_command "${variables[@]}" "$python" "$PROJECT_ROOT/train.py" "${@:5}")"
    done
}

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

# Start train.py through msrun, with the output of process 0 on the console and that of every process in a file.
run_with_msrun() {
    local number="$1" python="$2" logs="$3" port msrun status=0 options=()
    shift 3
    new_folder "$logs"
    port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    if [[ "${BIND_CORES:-0}" == 1 ]]; then
        options+=(--bind_core=True)
    fi
    if ((${#LOCAL_DEVICES[@]} > 0)); then
        ASCEND_RT_VISIBLE_DEVICES="$(visible_devices)"
        export ASCEND_RT_VISIBLE_DEVICES
    fi
    # msrun starts 'python3' as PATH finds it. It gets a session of its own, so that Ctrl-C reaches only this script.
    GLOG_v=3 PATH="$(dirname -- "$python"):$PATH" setsid "$python" -m mindspore.parallel.cluster.run \
        --worker_num="$number" --local_worker_num="$number" --master_port="$port" --log_dir="$logs" --join=True \
        --tail_worker_log=0 "${options[@]}" python3 "$PROJECT_ROOT/train.py" "$@" 2>"$logs/msrun.log" &
    msrun=$!
    stop_on_signals stop_workers_of "$msrun"
    wait "$msrun" || status=$?
    while kill -0 "$msrun" 2>/dev/null; do # the wait above ends early when a signal comes
        wait "$msrun" || status=$?
    done
    finish "$status" "$logs"
}

# Start train.py once for each entry of LOCAL_DEVICES. BIND_CORES=1 shares the CPU's cores out among them.
run_with_rank_table() {
    local number="$1" python="$2" logs="$3" entry rank device first status=0 bind=() cores started
    local -A running=()
    shift 3
    new_folder "$logs"
    cores=$(($(nproc) / ${#LOCAL_DEVICES[@]}))
    first=$(cut -d ' ' -f 1 <<<"${LOCAL_DEVICES[0]}")
    for entry in "${LOCAL_DEVICES[@]}"; do
        read -r rank device <<<"$entry"
        if [[ "${BIND_CORES:-0}" == 1 ]] && ((cores > 0)); then
            bind=(taskset -c "$((${#running[@]} * cores))-$(((${#running[@]} + 1) * cores - 1))")
        fi
        # A session of its own, so that Ctrl-C reaches only this script.
        RANK_ID="$rank" RANK_SIZE="$number" DEVICE_ID="$device" RANK_TABLE_FILE="$RANK_TABLE" setsid "${bind[@]}" \
            "$python" "$PROJECT_ROOT/train.py" "$@" >"$logs/worker_$rank.log" 2>&1 &
        running[$rank]=$!
    done
    tail -n +1 -f -s 0.5 --pid="${running[$first]}" "$logs/worker_$first.log" &
    started=("${running[@]}" $!)
    stop_on_signals kill -TERM "${running[@]}"
    while ((${#running[@]} > 0 && status == 0)); do
        for rank in "${!running[@]}"; do
            if ! kill -0 "${running[$rank]}" 2>/dev/null; then
                wait "${running[$rank]}" || status=$?
                unset "running[$rank]"
                if ((status != 0 && STOPPED == 0)); then
                    echo "rank $rank ended with exit code $status" >&2
                    break
                fi
            fi
        done
        sleep 0.5 || true
    done
    if ((STOPPED == 0 && ${#running[@]} > 0)); then
        end_all "${running[@]}"
    fi
    wait "${started[@]}" || true # all of them; alone, 'wait' would also wait for what copies the output
    finish "$status" "$logs"
}

new_folder() {
    rm -rf -- "$1"
    mkdir -p -- "$1" || fail "cannot write to $1"
}

# stop_on_signals COMMAND...: Ctrl-C and SIGTERM ask the processes to save and stop, and are kept in STOPPED.
stop_on_signals() {
    STOPPED=0
    STOP_COMMAND=("$@")
    trap 'stop 130' INT
    trap 'stop 143' TERM
}

stop() {
    STOPPED="$1"
    echo "stopping: asking every process to save its work" >&2
    "${STOP_COMMAND[@]}" 2>/dev/null || true
}

# Ask the processes that msrun (its id: $1) started to save and stop. It would kill them itself, saving nothing.
stop_workers_of() {
    local child
    # shellcheck disable=SC2013 # words are wanted: the ids are on one line
    for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
        if grep -qz '^MS_ROLE=MS_WORKER$' "/proc/$child/environ" 2>/dev/null; then
            kill -TERM "$child" 2>/dev/null || true
        fi
    done
}

# end_all ID...: end processes that wait for one that has failed; they cannot stop by themselves.
end_all() {
    local id waited
    kill -TERM "$@" 2>/dev/null || true
    for ((waited = 0; waited < 20; waited++)); do
        kill -0 "$@" 2>/dev/null || return 0
        sleep 0.5
    done
    for id in "$@"; do
        kill -KILL -- "-$id" 2>/dev/null || true # with the processes that prepare its images
    done
}

# finish STATUS LOGS: the end of a run, with STATUS of its first process that failed, or that of the signal.
finish() {
    if ((STOPPED != 0)); then
        return "$STOPPED"
    fi
    if (($1 != 0)); then
        show_failures "$2"
        echo "error: a process failed, so the whole run was ended; the output of every process is in $2" >&2
    fi
    return "$1"
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
