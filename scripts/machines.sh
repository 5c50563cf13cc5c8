# shellcheck shell=bash
# Several machines that train together, each of which runs the same command with msrun. Sourced by launch.sh.
#
# In the environment:
# NODE_NUM     how many machines there are; the devices of the command are spread evenly over them
# NODE_RANK    which of them this one is, from 0
# MASTER_ADDR  address or name of machine 0, where the others find it
# MASTER_PORT  a free port there; the one after it must be free too

DEFAULT_MASTER_PORT=8118

MACHINE_COUNT=1 MACHINE_RANK=0 WATCH=""

# plan_machines PROCESSES: checks the variables and sets MACHINE_COUNT, MACHINE_RANK, LOCAL_PROCESSES and
# FIRST_RANK, the rank of the first of these.
plan_machines() {
    MACHINE_COUNT="${NODE_NUM:-1}" MACHINE_RANK="${NODE_RANK:-0}"
    require_number NODE_NUM "$MACHINE_COUNT" 1 "$MOST_PROCESSES"
    require_number NODE_RANK "$MACHINE_RANK" 0 $((MACHINE_COUNT - 1))
    if (($1 % MACHINE_COUNT != 0)); then
        fail "DEVICE_NUM: must be a multiple of NODE_NUM, $MACHINE_COUNT, not $1: all machines have as many devices"
    fi
    LOCAL_PROCESSES=$(($1 / MACHINE_COUNT))
    # shellcheck disable=SC2034 # launch.sh reads it
    FIRST_RANK=$((MACHINE_RANK * LOCAL_PROCESSES))
}

# find_master PYTHON: checks MASTER_ADDR and MASTER_PORT and sets MASTER_IP, the address, and PORT.
find_master() {
    PORT="${MASTER_PORT:-$DEFAULT_MASTER_PORT}"
    require_number MASTER_PORT "$PORT" 1024 65534
    [[ -n "${MASTER_ADDR:-}" ]] || fail "MASTER_ADDR: NODE_NUM is $MACHINE_COUNT, so the address of machine 0 is needed"
    MASTER_IP="$MASTER_ADDR"
    if ! dry_run; then
        MASTER_IP="$(
            cd "$PROJECT_ROOT"
            "$1" -B -m src.model_utils.master_address "$MASTER_ADDR" "$PORT" "$MACHINE_RANK"
        )" || exit $?
    fi
}

# Part of the names of what this machine writes, so that it may share a folder with others: '' for machine 0.
machine_suffix() {
    if ((MACHINE_RANK > 0)); then
        echo "_machine_$MACHINE_RANK"
    fi
}

# start_watch PYTHON NOTES: has the machines tell each other how they end, in the background.
start_watch() {
    WATCH_NOTES="$2"
    (
        cd "$PROJECT_ROOT" || exit
        exec setsid "$1" -B -m src.model_utils.machine_watch "$MASTER_IP" $((PORT + 1)) "$MACHINE_RANK" "$2"
    ) 8>&- &
    WATCH=$!
}

# end_watch STATUS MESSAGE: tells the other machines how this one has ended.
end_watch() {
    if [[ -n "$WATCH" ]]; then
        echo "$*" >"$WATCH_NOTES/ending"
        kill -TERM "$WATCH" 2>/dev/null || true
        wait "$WATCH" 2>/dev/null || true
    fi
}
