#!/usr/bin/env bash
# Runs one process of a training on several devices; launch.sh starts it, once per process.
#
# usage: LAUNCHER_PID=ID LAUNCH_NOTES=FOLDER bash scripts/one_rank.sh COMMAND...
#
# It hands SIGTERM on to the process, and ends it when the script that launched it is gone: the process with rank 0 is
# asked to save first. A process that fails leaves the line 'STATUS MESSAGE' in FOLDER/failed, which names its rank and
# its last step, as the process noted it in STEP_FILE (src/model_utils/local_adapter.py).
#
# A shell beside the process, not a thread in it: MindSpore's scheduler never lets Python's threads or handlers run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

GRACE_SECONDS=10

show_help "$0" "${1:-}"
rank="${OMPI_COMM_WORLD_RANK:-${MS_NODE_ID:-${RANK_ID:-0}}}"
name="rank $rank"
if [[ "${MS_ROLE:-}" == MS_SCHED ]]; then
    rank=scheduler name="the scheduler"
fi
notes="$LAUNCH_NOTES/rank_$rank"
export STEP_FILE="$notes.step"

# When the launcher began, which tells it from a later process with its number; empty when it is gone.
launcher() {
    local line fields
    read -r line 2>/dev/null <"/proc/$LAUNCHER_PID/stat" || return 0
    read -ra fields <<<"${line##*) }"
    if [[ "${fields[0]}" != Z ]]; then
        echo "${fields[19]}"
    fi
}

lives() {
    kill -0 "$child" 2>/dev/null
}

# Rank 0 may save; the others wait for that, since it cannot end its step without them.
end_child() {
    local waited saving=0
    if [[ "$rank" == 0 ]]; then
        saving="$child"
        kill -TERM "$child" 2>/dev/null || true
    elif [[ -s "$LAUNCH_NOTES/rank_0.pid" ]]; then
        saving="$(<"$LAUNCH_NOTES/rank_0.pid")"
    fi
    for ((waited = 0; saving != 0 && waited < GRACE_SECONDS * 2; waited++)); do
        kill -0 "$saving" 2>/dev/null || break
        sleep 0.5
    done
    kill -KILL "$child" 2>/dev/null || true
}

note_failure() {
    local step="" message
    read -r step 2>/dev/null <"$STEP_FILE" || true # the file has no newline
    message="$name $(ending "$1") $([[ -n "$step" ]] && echo "after step $step" || echo "before its first step")"
    if [[ -n "${OMPI_COMM_WORLD_RANK:-}" ]]; then # mpirun itself does not read the note
        echo "$message" >&2
    fi
    echo "$1 $message" >>"$LAUNCH_NOTES/failed" || true
}

# On the CPU MindSpore's processes find each other through a scheduler, of which mpirun knows nothing: that of rank 0
# starts it, at MS_SCHED_HOST and MS_SCHED_PORT, which launch.sh has set.
join_scheduler() {
    export MS_WORKER_NUM="$OMPI_COMM_WORLD_SIZE" MS_NODE_ID="$rank"
    if [[ "$rank" == 0 ]]; then
        MS_ROLE=MS_SCHED bash "$0" "$@" >"$LAUNCH_NOTES/scheduler.log" 2>&1 &
    fi
    export MS_ROLE=MS_WORKER
}

if [[ -n "${OMPI_COMM_WORLD_RANK:-}" && -n "${MS_SCHED_PORT:-}" && -z "${MS_ROLE:-}" ]]; then
    join_scheduler "$@"
fi
began="$(launcher)"
if [[ -z "$began" ]]; then
    exit 1
fi
"$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' TERM
echo "$$" >"$notes.pid"
while lives; do
    if [[ "$(launcher)" != "$began" ]]; then
        end_child
    fi
    sleep 1 >/dev/null 2>&1 &
    wait -n 2>/dev/null || true # for the child, that second, or a signal
done
status=0
wait "$child" 2>/dev/null || status=$?
if ((status != 0)); then
    note_failure "$status"
fi
exit "$status"
