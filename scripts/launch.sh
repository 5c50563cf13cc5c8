# shellcheck shell=bash
# Starts train.py in several processes, one per device, and ends them together. Sourced after common.sh.
#
# plan_launch checks what is asked for; launch LOGS ARGUMENT... then trains. The output of process 0 goes to the
# console, that of each process to LOGS/worker_RANK.log (mpirun: to one folder per process). The launcher is
#   mpirun      GPUs, CPU
#   msrun       MindSpore's own: CPU, Ascend, GPUs; also over several machines (machines.sh)
#   rank_table  Ascend: one process for each device that read_rank_table found on this machine
# Each process has one_rank.sh beside it, which ends it when this script is gone, and leaves notes in LOGS: rank_RANK.pid
# (its own id), rank_RANK.step (the last step) and failed ('STATUS MESSAGE' of each process that failed, in that order).

# shellcheck source-path=SCRIPTDIR source=machines.sh
source "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

# More processes than any cluster has devices: a bound for what a slip of the finger can start.
MOST_PROCESSES=4096
# How long a training may take to end its step and save when it is asked to stop; one that has made no step yet has
# nothing to save, and a few seconds are enough.
STOP_SECONDS=120
SHORT_STOP_SECONDS=10

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
    local default=msrun known="msrun or mpirun"
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
    if ((MACHINE_COUNT > 1)); then
        chosen="${LAUNCHER:-msrun}"
        [[ "$chosen" == msrun ]] || fail "LAUNCHER: must be msrun for several machines (NODE_NUM), not '$chosen'"
    fi
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
    require_number DEVICE_NUM "$PROCESSES" 1 "$MOST_PROCESSES"
    plan_machines "$PROCESSES"
    DEVICE="$(require_device 1 "$1")"
    PROGRAM="$(project_python)"
    if [[ -n "${3:-}" ]]; then
        ((MACHINE_COUNT == 1)) || fail "NODE_NUM: a rank table lists the machines; give '' as RANK_TABLE_FILE to go without"
        read_rank_table "$3" "$PROCESSES" "$PROGRAM"
    fi
    require_device "$((${#LOCAL_DEVICES[@]} > 0 ? ${#LOCAL_DEVICES[@]} : LOCAL_PROCESSES))" "$1" >/dev/null
    CHOSEN_LAUNCHER="$(launcher_for "$DEVICE")"
    if ((MACHINE_COUNT > 1)); then
        find_master "$PROGRAM"
    fi
}

# launch LOGS ARGUMENT...: trains with the processes of plan_launch.
launch() {
    local logs command
    logs="$1$(machine_suffix)"
    command=("$PROCESSES" "$PROGRAM" "$logs" --device_target "$DEVICE" --run_distribute 1 --device_num "$PROCESSES"
        "${@:2}")
    if [[ "$CHOSEN_LAUNCHER" == msrun ]] && ((${#LOCAL_DEVICES[@]} > 0 && ${#LOCAL_DEVICES[@]} < PROCESSES)); then
        fail "LAUNCHER=msrun: this script starts one machine, the rank table has several; use LAUNCHER=rank_table"
    fi
    if dry_run; then
        show_processes "$CHOSEN_LAUNCHER" "${command[@]}"
    else
        lock_run "$(dirname -- "$1")"
        "run_with_$CHOSEN_LAUNCHER" "${command[@]}"
    fi
}

# lock_run FOLDER: refuses the folder of a run into which another training writes, started by a script (which holds
# .launch.lock as long as it lives) or by train.py (.lock). A file system without locks has no such protection.
lock_run() {
    mkdir -p -- "$1" || fail "cannot write to $1"
    { exec 8>"$1/.launch$(machine_suffix).lock"; } 2>/dev/null || fail "cannot write to $1"
    unless_locked "$1" 8
    if ((MACHINE_RANK == 0)); then # the process that holds .lock runs there, and this machine's may be late
        unless_locked "$1" "$1/.lock" true
    fi
}

# unless_locked FOLDER FLOCK_ARGUMENT...: flock's exit code for a lock that another process holds is 1.
unless_locked() {
    flock -n "${@:2}" 2>/dev/null || (($? != 1)) ||
        fail "$1: another training is writing into this folder; wait for its end, or choose another folder"
}

# The devices of the rank table, '4,5,6,7'. msrun counts from 0 among the visible ones.
visible_devices() {
    printf '%s\n' "${LOCAL_DEVICES[@]}" | cut -d ' ' -f 2 | paste -sd ,
}

# What launch would start, one line per process of this machine.
show_processes() {
    local launcher="$1" number="$2" python="$3" entry rank device devices=() extra=() variables
    for ((device = 0; device < LOCAL_PROCESSES; device++)); do
        devices+=("$((FIRST_RANK + device)) $device")
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
    command -v mpirun >/dev/null || fail "mpirun not found: install OpenMPI ($(install_command openmpi-bin))"
    if ((EUID == 0)); then
        options+=(--allow-run-as-root)
    fi
    new_folder "$logs"
    export LAUNCHER_PID=$$ LAUNCH_NOTES="$logs"
    if [[ "$DEVICE" == CPU ]]; then
        MS_SCHED_PORT="$(free_port "$python")"
        export MS_SCHED_HOST=127.0.0.1 MS_SCHED_PORT
        options+=(--oversubscribe) # there may be more processes than cores
    fi
    # By itself mpirun binds each process to one core where there are two processes, with all its threads.
    exec mpirun "${options[@]}" --bind-to none -n "$number" --output-filename "$logs" --merge-stderr-to-stdout \
        bash "$PROJECT_ROOT/scripts/one_rank.sh" "$python" "$PROJECT_ROOT/train.py" "$@"
}

# Start train.py through msrun, with the output of process 0 on the console and that of every process in a file.
run_with_msrun() {
    local number="$1" python="$2" logs="$3" msrun tail status=0 options=() shell
    shift 3
    new_folder "$logs"
    if ((MACHINE_COUNT > 1)); then
        options+=(--master_addr="$MASTER_IP" --master_port="$PORT" --node_rank="$MACHINE_RANK")
        echo "machine $MACHINE_RANK of $MACHINE_COUNT: ranks $FIRST_RANK to $((FIRST_RANK + LOCAL_PROCESSES - 1)) of $number;" \
            "the machines meet at $MASTER_IP:$PORT"
    else
        options+=(--master_port="$(free_port "$python")")
    fi
    if [[ "${BIND_CORES:-0}" == 1 ]]; then
        options+=(--bind_core=True)
    fi
    if ((${#LOCAL_DEVICES[@]} > 0)); then
        ASCEND_RT_VISIBLE_DEVICES="$(visible_devices)"
        export ASCEND_RT_VISIBLE_DEVICES
    fi
    shell='import os, sys; os.execvp("bash", ["bash", *sys.argv[1:]])' # msrun starts nothing but Python
    stop_on_signals "$logs" "$FIRST_RANK"
    # msrun starts 'python3' as PATH finds it. It gets a session of its own, so that Ctrl-C reaches only this script. It
    # would show the log of process 0 with a program that may outlive it: a rank that is not there has it show none.
    GLOG_v=3 PATH="$(dirname -- "$python"):$PATH" LAUNCHER_PID=$$ LAUNCH_NOTES="$logs" \
        setsid "$python" -m mindspore.parallel.cluster.run \
        --worker_num="$number" --local_worker_num="$LOCAL_PROCESSES" --log_dir="$logs" --join=True \
        --tail_worker_log="$number" "${options[@]}" python3 -c "$shell" "$PROJECT_ROOT/scripts/one_rank.sh" \
        "$python" "$PROJECT_ROOT/train.py" "$@" 2>"$logs/msrun.log" 8>&- &
    msrun=$!
    if ((MACHINE_COUNT > 1)); then
        start_watch "$python" "$logs"
    fi
    show_log "$logs/worker_$FIRST_RANK.log" "$msrun"
    tail=$!
    while kill -0 "$msrun" 2>/dev/null; do
        if [[ -s "$logs/failed" ]]; then
            end_launched # msrun would wait for its scheduler, and that for processes that msrun has ended
        fi
        enforce_stop
        sleep 0.5 || true
    done 2>/dev/null # where bash tells that it was killed
    wait "$msrun" 2>/dev/null || status=$?
    wait "$tail" || true
    finish msrun "$status" "$logs"
}

# Start train.py once for each entry of LOCAL_DEVICES. BIND_CORES=1 shares the CPU's cores out among them.
run_with_rank_table() {
    local number="$1" python="$2" logs="$3" entry rank device first status=0 bind=() cores started
    local -A running=()
    shift 3
    new_folder "$logs"
    cores=$(($(nproc) / ${#LOCAL_DEVICES[@]}))
    first=$(cut -d ' ' -f 1 <<<"${LOCAL_DEVICES[0]}")
    stop_on_signals "$logs" "$first"
    for entry in "${LOCAL_DEVICES[@]}"; do
        read -r rank device <<<"$entry"
        if [[ "${BIND_CORES:-0}" == 1 ]] && ((cores > 0)); then
            bind=(taskset -c "$((${#running[@]} * cores))-$(((${#running[@]} + 1) * cores - 1))")
        fi
        # A session of its own, so that Ctrl-C reaches only this script.
        RANK_ID="$rank" RANK_SIZE="$number" DEVICE_ID="$device" RANK_TABLE_FILE="$RANK_TABLE" \
            LAUNCHER_PID=$$ LAUNCH_NOTES="$logs" setsid "${bind[@]}" \
            bash "$PROJECT_ROOT/scripts/one_rank.sh" "$python" "$PROJECT_ROOT/train.py" "$@" \
            >"$logs/worker_$rank.log" 2>&1 8>&- &
        running[$rank]=$!
    done
    show_log "$logs/worker_$first.log" "${running[$first]}"
    started=("${running[@]}" $!)
    while ((${#running[@]} > 0 && status == 0)); do
        for rank in "${!running[@]}"; do
            if ! kill -0 "${running[$rank]}" 2>/dev/null; then
                wait "${running[$rank]}" || status=$?
                unset "running[$rank]"
                if ((status != 0)); then
                    break
                fi
            fi
        done
        enforce_stop
        sleep 0.5 || true
    done 2>/dev/null
    if ((${#running[@]} > 0)); then
        end_all "${running[@]}" 2>/dev/null
    fi
    wait "${started[@]}" 2>/dev/null || true # all of them; alone, 'wait' would also wait for what copies the output
    finish "a process" "$status" "$logs"
}

# free_port PYTHON: a port of this machine that nothing listens at.
free_port() {
    "$1" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

new_folder() {
    rm -rf -- "$1"
    mkdir -p -- "$1" || fail "cannot write to $1"
}

# show_log FILE ID: copies what a file has and gets to the console, in the background, until process ID ends.
show_log() {
    : >>"$1"
    tail -n +1 -f -s 0.5 --pid="$2" "$1" 8>&- &
}

# stop_on_signals LOGS FIRST: Ctrl-C, SIGTERM and a closed terminal stop the training and are kept in STOPPED; FIRST is
# the rank that saves. However this script ends, it leaves no process behind. The loops that wait silence standard
# error, so file 7 keeps it.
stop_on_signals() {
    exec 7>&2
    STOPPED=0 STOP_LOGS="$1" STOP_FIRST="$2"
    trap 'stop 129' HUP
    trap 'stop 130' INT
    trap 'stop 143' TERM
    trap end_launched EXIT
}

# The first signal asks the training to save and end, a second one ends it.
stop() {
    local pids=()
    if ((STOPPED != 0)); then
        end_launched
        return 0 # a trap's bare 'return' hands on the status of the command that was interrupted
    fi
    STOPPED="$1"
    echo "stopping: asking every process to save its work" >&7 || true
    if ((MACHINE_RANK > 0)) && [[ -e "$STOP_LOGS/joined" ]] && kill -USR1 "$WATCH" 2>/dev/null; then
        STOP_DEADLINE=$((SECONDS + STOP_SECONDS)) # machine 0 saves, and all end after it
        return 0
    fi
    if [[ -s "$STOP_LOGS/rank_$STOP_FIRST.step" ]]; then
        # The others wait for this one and are ended after it: one that left before would keep it from ending its step.
        STOP_DEADLINE=$((SECONDS + STOP_SECONDS))
        pids=("$STOP_LOGS/rank_$STOP_FIRST.pid")
    else
        STOP_DEADLINE=$((SECONDS + SHORT_STOP_SECONDS))
        mapfile -t pids < <(compgen -G "$STOP_LOGS/rank_*.pid")
    fi
    if ((${#pids[@]} == 0)); then
        end_launched
    else
        mapfile -t pids < <(cat -- "${pids[@]}")
        kill -TERM "${pids[@]}" 2>/dev/null || true
    fi
}

# Ends a training that is still there long after it was asked to stop.
enforce_stop() {
    if ((STOPPED != 0 && SECONDS >= STOP_DEADLINE)); then
        end_launched
    fi
}

# Ends everything that this script has launched, and what that has started: all that has its LAUNCHER_PID.
end_launched() {
    local ids attempt
    for ((attempt = 0; attempt < 20; attempt++)); do # again for what was being started meanwhile
        mapfile -t ids < <(grep -lsz "^LAUNCHER_PID=$$\$" /proc/[0-9]*/environ | cut -d / -f 3)
        if ((${#ids[@]} == 0)); then
            return 0
        fi
        kill -KILL "${ids[@]}" 2>/dev/null || true
        sleep 0.1 || true
    done
}

# end_all ID...: end processes that wait for one that has failed; they cannot stop by themselves.
end_all() {
    local waited
    kill -TERM "$@" 2>/dev/null || true
    for ((waited = 0; waited < SHORT_STOP_SECONDS * 2; waited++)); do
        kill -0 "$@" 2>/dev/null || return 0
        sleep 0.5 || true
    done
    end_launched
}

# finish WHAT STATUS LOGS: the end of a run, with the status of its first process that failed, that of the signal, or
# that of WHAT has launched them.
finish() {
    local status="$2" message
    if ((STOPPED != 0)); then
        end_watch "$STOPPED" "was stopped"
        return "$STOPPED"
    fi
    message="$1 $(ending "$status")"
    if [[ -s "$3/failed" ]]; then
        read -r status message <"$3/failed"
    fi
    end_watch "$status" "$message"
    if ((status != 0)); then
        if ((status <= 128)); then # after a kill, other processes have nothing but errors that follow from it
            show_failures "$3"
        fi
        echo "$message" >&2
        echo "error: a process failed, so the whole run was ended; the output of every process is in $3" >&2
    fi
    return "$status"
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
