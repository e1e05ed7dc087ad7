# Shell functions for a handoff, for bash and zsh. In your ~/.bashrc:
#
#     export ENVCTL_STORE=registry.example/acme/shop-tasks
#     . /path/to/aliases.sh
#
# shellcheck shell=bash

# The newest task that waits for a human.
en-newest() {
    envctl tasks --needs-human --no-input --quiet | awk 'NR == 1 { print $1; found = 1 } END { exit !found }'
}

# The command that fails in a task, as its agent wrote it.
en-failing() {
    envctl show "$1" --quiet | sed -n 's/^failing *//p' | sed 's/ (exit code -\{0,1\}[0-9]*)$//'
}

# A shell in a task; in the newest that waits, if none is named.
en() {
    local task
    task=${1:-$(en-newest)} || { echo 'no task waits for a human' >&2; return 3; }
    envctl enter "$task"
}

# The whole handoff without a terminal: enter the newest task that waits, run
# what fails there, reset. The exit code is that of what fails.
en-handoff() {
    local task failing code=0
    task=$(en-newest) || { echo 'no task waits for a human' >&2; return 3; }
    failing=$(en-failing "$task")
    [ -n "$failing" ] || { echo "$task names no command that fails" >&2; return 2; }
    echo "$task: $failing" >&2
    envctl enter "$task" -- sh -c "$failing" || code=$?
    envctl reset "$task" >&2 || return
    return "$code"
}
