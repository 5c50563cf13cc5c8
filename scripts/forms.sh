# shellcheck shell=bash
# Tells the forms of a command apart. The published READMEs share some names of scripts but not their arguments: such a
# script has one form per README, and the arguments say which is meant. Sourced after common.sh.

# kinds_of WORD...: prints the kind of each: config (a YAML file), number (a whole one), dataset or word.
kinds_of() {
    local word kinds=()
    for word in "$@"; do
        case "$word" in
            *.yaml | *.yml) kinds+=(config) ;;
            coco | voc | other) kinds+=(dataset) ;;
            "" | *[!0-9]*) kinds+=(word) ;;
            *) kinds+=(number) ;;
        esac
    done
    echo "${kinds[*]}"
}

# choose_form SCRIPT "$@": finds the one of FORMS that has these arguments. An entry of FORMS is 'NAME LEAST MOST KINDS':
# the number of arguments, and a pattern of what kinds_of prints. For the form 'config', which is the script's own, it
# sets PLACED and KEYS as split_arguments does; else it goes on as the script of the same name in the folder NAME.
choose_form() {
    local script="$1" entry name least most pattern kinds count in_number of_kind
    local recognised=0 chosen="" by_number=()
    shift
    split_arguments "$script" "$@"
    count="${#PLACED[@]}"
    kinds="$(kinds_of "${PLACED[@]}")"
    for entry in "${FORMS[@]}"; do
        read -r name least most pattern <<<"$entry"
        in_number=0 of_kind=0
        if ((least <= count && count <= most)); then
            in_number=1
            by_number+=("$name")
        fi
        # shellcheck disable=SC2053 # a pattern is wanted on the right
        if [[ "$kinds" == $pattern ]]; then
            of_kind=1
            recognised=1
        fi
        if ((in_number && of_kind)) && [[ -z "$chosen" ]]; then
            chosen="$name"
        fi
    done
    # Arguments of no form's kind, such as a configuration that is not there: where their number leaves one form, that
    # one says what is wrong with them.
    if ((recognised == 0 && ${#by_number[@]} == 1)); then
        chosen="${by_number[0]}"
    fi
    if [[ -z "$chosen" ]]; then
        fail "$(basename "$script") takes $(forms_of "$script"); none of these fits '${PLACED[*]}': got $count"
    elif [[ "$chosen" != config ]]; then
        exec bash "$PROJECT_ROOT/scripts/$chosen/$(basename "$script")" "$@"
    fi
}

# forms_of SCRIPT: its forms on one line, taken from its usage.
forms_of() {
    usage_of "$1" | sed -n 's/^.* bash scripts\/[a-z0-9_]*\.sh //p' | paste -s -d '|' | sed 's/|/; or /g'
}
