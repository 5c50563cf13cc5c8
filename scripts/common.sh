# shellcheck shell=bash
# Shared by the scripts beside it, which source it: messages, argument checks, which Python runs, which device is there.

PROJECT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV_DIR="${VENV_DIR:-$PROJECT_ROOT/.venv}"

# A mistake of the caller, or something that the machine lacks: one line, exit code 2.
fail() {
    echo "error: $*" >&2
    exit 2
}

# The header comment of a script, without its '# ', is its usage text.
usage_of() {
    sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"
}

# show_help SCRIPT "$@": prints the usage of SCRIPT and exits 0 when one of the words is -h or --help.
show_help() {
    local script="$1" word
    shift
    for word in "$@"; do
        if [[ "$word" == -h || "$word" == --help ]]; then
            usage_of "$script"
            exit 0
        fi
    done
}

# check_usage SCRIPT MIN MAX "$@": prints the usage of SCRIPT and exits 0 for -h and --help, or 2 unless MIN to MAX
# arguments were given.
check_usage() {
    local script="$1" least="$2" most="$3"
    shift 3
    show_help "$script" "$@"
    if (($# < least || $# > most)); then
        usage_of "$script" >&2
        if ((least == most)); then
            fail "$(basename "$script") takes $least arguments, got $#"
        fi
        fail "$(basename "$script") takes $least to $most arguments, got $#"
    fi
}

# split_arguments SCRIPT "$@": sets PLACED, the arguments by their places, and KEYS, any --KEY VALUE of the
# configuration after them; prints the usage of SCRIPT and exits when it is asked for.
split_arguments() {
    local script="$1"
    shift
    show_help "$script" "$@"
    PLACED=()
    while (($# > 0)) && [[ "$1" != --?* ]]; do
        PLACED+=("$1")
        shift
    done
    # shellcheck disable=SC2034 # the scripts read it
    KEYS=("$@")
}

# read_arguments SCRIPT MIN MAX "$@": the same, and exits as check_usage does unless MIN to MAX arguments are PLACED.
read_arguments() {
    split_arguments "$1" "${@:4}"
    check_usage "$1" "$2" "$3" "${PLACED[@]}"
}

# existing NAME file|folder|any PATH: prints the absolute path; fails, naming the argument, when it is not there.
# Call it as name="$(existing ...)" on a line of its own: elsewhere bash ignores that a substitution failed.
existing() {
    local name="$1" kind="$2" path="$3"
    case "$kind" in
        file) [[ -f "$path" ]] || fail "$name: no such file: $path" ;;
        folder) [[ -d "$path" ]] || fail "$name: no such folder: $path" ;;
        *) [[ -e "$path" ]] || fail "$name: no such file or folder: $path" ;;
    esac
    realpath -s -- "$path"
}

# dnf_package PACKAGE: what a package of Debian is called where dnf installs (openEuler, CentOS, Kylin).
dnf_package() {
    case "$1" in
        g++) echo gcc-c++ ;;
        libgomp1) echo libgomp ;;
        openmpi-bin) echo openmpi ;;
        python3*-venv) echo python3-pip ;; # venv comes with Python there, ensurepip's wheels with this
        *) echo "$1" ;;
    esac
}

# install_command PACKAGE...: how the system's package manager installs packages, given by their names in Debian.
install_command() {
    local package packages=()
    if command -v apt-get >/dev/null; then
        echo "apt-get install $*"
    elif command -v dnf >/dev/null; then
        for package in "$@"; do
            packages+=("$(dnf_package "$package")")
        done
        echo "dnf install ${packages[*]}"
    fi
}

# install_packages PACKAGE...: with apt-get or dnf, as root or through sudo without a password.
install_packages() {
    local as_root=() words
    read -ra words <<<"$(install_command "$@")"
    if ((${#words[@]} == 0)); then
        fail "this machine lacks $*; install it with the system's package manager"
    fi
    if ((EUID != 0)); then
        if ! sudo -n true 2>/dev/null; then
            fail "this machine lacks $*; run: sudo ${words[*]}"
        fi
        as_root=(sudo -n)
    fi
    echo "== installing system packages: ${words[*]:2}"
    if [[ "${words[0]}" == apt-get ]]; then
        words=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${words[@]:2}")
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q || true
    else
        words=(dnf install -y -q "${words[@]:2}")
    fi
    "${as_root[@]}" "${words[@]}" || fail "could not install $*; install it by hand ($(install_command "$@")) and run this again"
}

# The Python that runs the project: $PYTHON when set, else that of the environment that set-up makes, else python3.
project_python() {
    if [[ -n "${PYTHON:-}" ]]; then
        command -v -- "$PYTHON" || fail "PYTHON: no such program: $PYTHON"
    elif [[ -x "$VENV_DIR/bin/python" ]]; then
        echo "$VENV_DIR/bin/python"
    else
        command -v python3 || fail "no Python found; run: bash scripts/setup_env.sh"
    fi
}

# Whether only to print what would be started (DRY_RUN=1): nothing is written then, and devices are not looked for.
dry_run() {
    [[ "${DRY_RUN:-0}" == 1 ]]
}

# show_command WORD...: prints a command as it could be typed.
show_command() {
    local line
    line="$(printf ' %q' "$@")"
    echo "${line:1}"
}

# run [exec] COMMAND...: runs a step of a script, or only prints it.
run() {
    if dry_run; then
        if [[ "$1" == exec ]]; then
            shift
        fi
        echo "would run: $(show_command "$@")"
    else
        "$@"
    fi
}

# start COMMAND...: goes on as the one process of a command, or only prints it.
start() {
    if dry_run; then
        echo "rank 0: $(show_command "$@")"
    else
        exec "$@"
    fi
}

# require_number NAME VALUE LEAST [MOST]: fails, naming the argument, unless VALUE is a whole number from LEAST to MOST.
require_number() {
    local most="${4:-999999999}"
    # Digits first: bash computes with 64 bits and turns a longer number into another one without a word.
    if [[ ! "$2" =~ ^(0|[1-9][0-9]*)$ ]] || ((${#2} <= ${#most} && $2 < $3)); then
        fail "$1: must be a whole number from $3, not '$2'"
    fi
    if ((${#2} > ${#most} || $2 > most)); then
        fail "$1: must be at most $most, not $2"
    fi
}

# ending STATUS: in words, how a process with this exit status ended.
ending() {
    local signal=""
    if (($1 > 128)) && signal="$(kill -l "$1" 2>/dev/null)"; then
        echo "was ended by SIG$signal"
    else
        echo "ended with exit code $1"
    fi
}

# device_count GPU|Ascend: number of GPUs that the driver lists, or of Ascend devices in /dev; 0 without one.
device_count() {
    local listing
    if [[ "$1" == GPU ]]; then
        listing="$(nvidia-smi -L 2>/dev/null)" || listing=""
        grep -c '^GPU ' <<<"$listing" || true
    else
        find /dev -maxdepth 1 -name 'davinci[0-9]*' 2>/dev/null | wc -l
    fi
}

# As many processes may share any CPU, however few cores it has; one that has more may run one per core.
LEAST_CPU_PROCESSES=16

# require_device COUNT [DEFAULT]: prints the device to run on. DEVICE_TARGET chooses it, DEFAULT (else GPU) when that is
# not set; COUNT of them must exist.
require_device() {
    local wanted="$1" target="${DEVICE_TARGET:-${2:-GPU}}" name missing found
    case "$target" in
        CPU)
            found="$(nproc)"
            found=$((found > LEAST_CPU_PROCESSES ? found : LEAST_CPU_PROCESSES))
            if ((found < wanted)) && ! dry_run; then
                fail "$wanted processes asked for, on the CPU of this machine there may be $found"
            fi
            ;;
        GPU | Ascend)
            name=GPU missing="nvidia-smi -L lists none"
            if [[ "$target" == Ascend ]]; then
                name="Ascend device" missing="there is no /dev/davinci0 or the like"
            fi
            found="$(device_count "$target")"
            if dry_run; then
                found="$wanted"
            fi
            if ((found == 0)); then
                fail "no $name on this machine ($missing); DEVICE_TARGET=CPU runs on the CPU, tools/doctor.py says more"
            fi
            if ((found < wanted)); then
                fail "$wanted ${name}s asked for, this machine has $found"
            fi
            ;;
        *) fail "DEVICE_TARGET: must be GPU, CPU or Ascend, not '$target'" ;;
    esac
    echo "$target"
}
