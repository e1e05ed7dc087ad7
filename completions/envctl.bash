_envctl() {
    # Bash ends words at colons, which names of tasks and stores have: what was typed
    # without a blank between is one word here.
    local rest=${COMP_LINE:0:COMP_POINT} words=() blank part i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blank=${rest%%[![:blank:]]*}
        rest=${rest#"$blank"}
        part=$rest
        ((i == COMP_CWORD)) || part=${COMP_WORDS[i]}
        rest=${rest#"$part"}
        if [[ ${#words[@]} != 0 && -z $blank ]]; then
            words[${#words[@]} - 1]+=$part
        else
            words+=("$part")
        fi
    done
    local IFS=$'\013' last=$((${#words[@]} - 1)) kept='' breaks=''
    # shellcheck disable=SC2207 # one candidate for each part, whatever its blanks
    COMPREPLY=($(_CLAP_IFS=$IFS _CLAP_COMPLETE_INDEX=$last ENVCTL_COMPLETE=bash envctl -- "${words[@]}" 2>/dev/null)) ||
        { COMPREPLY=() && return; }
    # Bash replaces what comes after the last of these.
    [[ $COMP_WORDBREAKS != *:* ]] || breaks+=:
    [[ $COMP_WORDBREAKS != *=* ]] || breaks+='='
    [[ -z $breaks ]] || kept=${words[last]%"${words[last]##*[$breaks]}"}
    [[ ${#COMPREPLY[@]} == 0 ]] || COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _envctl envctl 2>/dev/null || complete -o bashdefault -F _envctl envctl
