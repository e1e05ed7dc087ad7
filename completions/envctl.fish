# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_envctl_global_optspecs
    string join \n store= json offline net-timeout= q/quiet v/verbose yes no-input color= h/help V/version
end

function __fish_envctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_envctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_envctl_using_subcommand
    set -l cmd (__fish_envctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c envctl -n "__fish_envctl_needs_command" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_needs_command" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_needs_command" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_needs_command" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_needs_command" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_needs_command" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_needs_command" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_needs_command" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_needs_command" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_needs_command" -s V -l version -d 'Print version'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "enter" -d 'Enter a task: resolve, pull, hydrate, start; reset on exit'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "exec" -d 'Run a command, or a shell, in a task\'s running runtime'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "reset" -d 'Bring a task\'s runtimes back to baseline, with a receipt'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "run" -d 'Run commands that nobody attends to, in a fresh runtime that always ends'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "publish" -d 'Publish this checkout as a task, and print the line that enters it'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "show" -d 'Show a task\'s identity and what it resolves to here'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "tasks" -d 'List the tasks of a store, or remove some'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "log" -d 'Show what a task goes on from, newest first; or what was taken away here'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "logs" -d 'Show what runs, detached commands and services of a task printed'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "diff" -d 'Show what lies between two tasks, or two identities'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "artifacts" -d 'Evidence that is attached to a task'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "cache" -d 'Sealed trees: package caches, build caches, fixtures'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "fixture" -d 'Golden data that tasks are given, by digest'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "status" -d 'Show running runtimes and workspaces of this machine'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "prefetch" -d 'Bring what tasks need, so that the next enter is warm'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "extend" -d 'Give a running runtime more time before its deadline'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "ports" -d 'Show or publish ports of a running runtime'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "workspace" -d 'Look at workspaces, remove one, or bring one back'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "costs" -d 'Sum up what the runtimes of this machine took'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "gc" -d 'Remove what dead commands left, what is old, and workspaces that are due'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "approve" -d 'Agree to what a project asks of this machine'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "init" -d 'Write an envctl.toml for this checkout, with caches for its lockfiles'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "doctor" -d 'Say whether this machine can do what envctl does, and what helps'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c envctl -n "__fish_envctl_needs_command" -f -a "help" -d 'Print the help of a command, or a page of the guide'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l into -d 'Make the workspace in this folder' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l lifetime -d 'What the workspace belongs to; it takes the place of another task\'s' -r -f -a "per-task\t'One task'
per-branch\t'All tasks of one branch, one after the other'
per-project\t'All tasks of one repository, one after the other'
per-developer\t'The developer: it lies in a folder that they name'"
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l network -d 'What the runtime can reach, whatever the project asks for' -r -f -a "isolated\t'A loopback of its own and nothing else'
private\t'An outside, through pasta, but nothing of the host\'s own loopback'
host\t'The host\'s network, as if there were no sandbox'"
complete -c envctl -n "__fish_envctl_using_subcommand enter" -s p -l publish -d 'Publish this port of the runtime on localhost: 3000; 8080:3000 or 3000=8080 for the fixed port 8080 here' -r
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l timeout -d 'End the runtime after this time: 30m, 8h' -r
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l idle -d 'End the runtime when nothing was typed, printed or computed in it for this time: 1h' -r
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l user -d 'Run as this user of the image, a name or an id, instead of the image\'s own' -r
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l report -d 'Write what happened, as JSON' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l no-runtime -d 'Stop after the workspace and print its path'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l no-secrets -d 'Leave out the secrets that the project asks for'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l no-services -d 'Start none of the services that the project asks for'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l without-approvals -d 'Go on without what the project asks for and was not approved: secrets, a network, fixed ports, setups with a network, other stores'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l detach -d 'Leave the runtime running under a supervisor of its own, and return'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l fresh -d 'Make another runtime although the task has one'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l refresh -d 'Resolve the task again; an older workspace is set aside'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l materialize -d 'Copy cached trees into the workspace, for programs of the host'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l nearest-caches -d 'Where a cache cannot be had, use its nearest entry, made for other inputs'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l dry-run -d 'Show what would be done'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand enter" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l lease -d 'Which of the task\'s runtimes, as `status` shows it (default: the newest)' -r
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l report -d 'Write what happened, as JSON' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l lease -d 'Only this one of its runtimes, as `status` shows it' -r
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l all -d 'All runtimes of this user'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l workspace -d 'Return the workspace to its snapshot as well; what is there is set aside'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l enter -d 'Open a fresh shell afterwards'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l image -d 'The image that the checkout runs in' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l workdir -d 'Where the checkout appears inside the runtime' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l network -d 'What the runtime can reach, whatever the project asks for' -r -f -a "isolated\t'A loopback of its own and nothing else'
private\t'An outside, through pasta, but nothing of the host\'s own loopback'
host\t'The host\'s network, as if there were no sandbox'"
complete -c envctl -n "__fish_envctl_using_subcommand run" -l timeout -d 'End a runtime after this time: 30m, 8h' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l idle -d 'End a runtime when nothing was printed or computed in it for this time: 20m' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l batch -d 'Run the commands of a file, one a line; an empty line begins a fresh runtime' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand run" -l as -d 'Publish as this task' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l every -d 'Publish while it runs, too, this far apart: 10m' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l status -d 'The state of the work after a success; a failure needs a human' -r -f -a "working\t'The agent goes on'
needs-human\t'The agent is stuck'
handed-back\t'The human gave it back'
closed\t'Done: per-task workspaces may go'"
complete -c envctl -n "__fish_envctl_using_subcommand run" -l message -d 'What the one who enters should know' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l agent -d 'Who runs and publishes' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l output -d 'Copy the log and what the project collects to this folder, missing or empty' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand run" -l report -d 'Write what happened, as JSON' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand run" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand run" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand run" -l build -d 'Build the image that the project describes, in an entered workspace too'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l no-secrets -d 'Leave out the secrets that the project asks for'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l no-services -d 'Start none of the services that the project asks for'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l without-approvals -d 'Go on without what the project asks for and was not approved: secrets, a network, setups with a network, other stores'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l fresh -d 'Run in a workspace of its own, as the task is published: it goes after a success and stays after a failure'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l keep -d 'Run in the task\'s workspace as it was left, and leave it'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l refresh -d 'Resolve the task again, and keep its workspace; an older one is set aside'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l keep-going -d 'After a failure go on with the next group of a batch'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l publish -d 'Publish what there is after the run, however it ended: as the task, or as --as says'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l redact -d 'Leave files with credentials out instead of refusing'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand run" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand run" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand run" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l image -d 'The image that the task runs in: python:3.12, docker-daemon:NAME, docker-archive:FILE, oci:PATH:TAG and more' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l workdir -d 'Where the workspace appears inside the runtime' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l agent -d 'Who publishes' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l status -d 'The state of the work' -r -f -a "working\t'The agent goes on'
needs-human\t'The agent is stuck'
handed-back\t'The human gave it back'
closed\t'Done: per-task workspaces may go'"
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l message -d 'What the one who enters should know' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l command -d 'The command that fails' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l exit-code -d 'Its exit code' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l fork -d 'Publish as this new task, which goes on from the other' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l build -d 'Build the image that the project describes, in an entered workspace too'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l redact -d 'Leave files with credentials out instead of refusing'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand publish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand show" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand show" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand show" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand show" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand show" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand show" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand show" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand show" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand show" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l status -d 'Only tasks in this state' -r -f -a "working\t'The agent goes on'
needs-human\t'The agent is stuck'
handed-back\t'The human gave it back'
closed\t'Done: per-task workspaces may go'"
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l agent -d 'Only tasks that this agent published' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l since -d 'Only tasks that were published in this time: 12h, 7d' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l limit -d 'The newest so many' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l needs-human -d 'Only those that wait for a human'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and not __fish_seen_subcommand_from rm" -f -a "rm" -d 'Remove tasks from their store'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l identities -d 'Their identities and artifacts as well, back to where another task begins'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand tasks; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand log" -l limit -d 'How many identities at most' -r
complete -c envctl -n "__fish_envctl_using_subcommand log" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand log" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand log" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand log" -l local -d 'Show what collections took away on this machine, and where it is now'
complete -c envctl -n "__fish_envctl_using_subcommand log" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand log" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand log" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand log" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand log" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand log" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l lease -d 'Which of the task\'s runtimes, as `status` shows it (default: the newest)' -r
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand logs" -s f -l follow -d 'Go on with what is printed until the runtime ends'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l list -d 'List the logs instead, the newest first'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l patch -d 'With the lines of files'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -f -a "add" -d 'Attach files to a task'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -f -a "ls" -d 'List a task\'s artifacts, oldest first'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -f -a "get" -d 'Fetch a task\'s artifacts, and print the folder in which they are'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and not __fish_seen_subcommand_from add ls get verify" -f -a "verify" -d 'Read a task\'s artifacts in full and check them against what they say'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l type -d 'What they are' -r -f -a "test-results\t'What a test runner reported'
logs\t'What was printed or recorded'
docker-image\t'An image as one file'
binary\t'A program, or what a build made'
screenshot\t'A picture of a screen'"
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l command -d 'The command that made them' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l exit-code -d 'Its exit code' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l output -d 'Copy them to this folder, which is missing or empty' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand artifacts; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "ls" -d 'List the entries of this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "verify" -d 'Hash entries and image layers again, and move away what is damaged'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "prune" -d 'Remove entries and image layers that no runtime and no workspace needs'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "key" -d 'Print the keys of a task\'s caches, and what they are made of'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "diff" -d 'Show how a later result of an entry\'s setup differs from the entry'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "promote" -d 'Give what a task sealed to all tasks of its store, here and there'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and not __fish_seen_subcommand_from ls verify prune key diff promote retry" -f -a "retry" -d 'Let setups run again that have failed'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l sample -d 'Only so many, chosen at random' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l older-than -d 'What was not used for so long' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l max-size -d 'What was not used longest, until the rest has at most this size' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l key -d 'One entry' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l all -d 'Everything'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l dry-run -d 'Show what would be removed'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l why -d 'Say why two keys differ; each is a task, or the beginning of a key' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from key" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from promote" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand cache; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -f -a "create" -d 'Put a folder into the store, and print what `source` of a `[[fixture]]` says'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and not __fish_seen_subcommand_from create ls" -f -a "ls" -d 'List the fixtures of the store, every version'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l as -d 'What it is called' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand fixture; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand status" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand status" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand status" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand status" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand status" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand status" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand status" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand status" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand status" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l rate -d 'Bytes per second at most' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l every -d 'How often to look at the store' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l max-bytes -d 'Bytes per day at most' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l hours -d 'Only in these hours of the day, such as 9-18' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l rounds -d 'End after so many looks' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l watch -d 'Follow the store, and bring every task that needs a human'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand prefetch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l lease -d 'Which of the task\'s runtimes, as `status` shows it (default: the newest)' -r
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand extend" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -f -a "ls" -d 'List the ports that are published'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and not __fish_seen_subcommand_from ls add" -f -a "add" -d 'Publish ports on localhost'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l lease -d 'Which of the task\'s runtimes, as `status` shows it (default: the newest)' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l lease -d 'Which of the task\'s runtimes, as `status` shows it (default: the newest)' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand ports; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -f -a "ls" -d 'List the workspaces, and what will delete each'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -f -a "path" -d 'Print the folder of a task\'s workspace'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -f -a "rm" -d 'Remove a task\'s workspace; what is unsaved in it is salvaged'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -f -a "keep" -d 'Keep a task\'s workspace, whatever would delete it'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and not __fish_seen_subcommand_from ls path rm keep recover" -f -a "recover" -d 'List what was salvaged, or bring one back as it was'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from path" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l off -d 'Go by its rule again'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l into -d 'Bring it to this folder instead of its place' -r -F
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand workspace; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l by -d 'What to sum up together' -r -f -a "task\t'A task of a store'
branch\t'A branch'
agent\t'Who published'
week\t'A week, from Monday on, in UTC'"
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l since -d 'Only what ended within this time: 7d' -r
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand costs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l dry-run -d 'List what would be removed'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l digest -d 'Agree to exactly this content, without a question' -r
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l host -d 'Agree to fetching repositories from this host (`SCHEME://HOST[:PORT]`, or `HOST[:PORT]` for https and ssh), or from this `file:` URL, or to asking this registry (`oci://HOST[:PORT]`), without a question' -r
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l revoke -d 'Take back a digest, a repository, the folder of a checkout or a host' -r
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l list -d 'Show what was agreed to'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand approve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand init" -l image -d 'The image that publish pins' -r
complete -c envctl -n "__fish_envctl_using_subcommand init" -l from -d 'Read what the project has already, and say what becomes of each field' -r -f -a "devcontainer\t'devcontainer.json'"
complete -c envctl -n "__fish_envctl_using_subcommand init" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand init" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand init" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand init" -l dry-run -d 'Print it, and write nothing'
complete -c envctl -n "__fish_envctl_using_subcommand init" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand init" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand init" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand init" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand init" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand init" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c envctl -n "__fish_envctl_using_subcommand help" -l store -d 'Where tasks are: oci:PATH or HOST/NAME' -r
complete -c envctl -n "__fish_envctl_using_subcommand help" -l net-timeout -d 'How many seconds a registry or a git remote may be silent' -r
complete -c envctl -n "__fish_envctl_using_subcommand help" -l color -d 'When to colour messages' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Always'
never\t'Never'"
complete -c envctl -n "__fish_envctl_using_subcommand help" -l json -d 'Print one JSON object on stdout'
complete -c envctl -n "__fish_envctl_using_subcommand help" -l offline -d 'Use nothing but what is on this machine'
complete -c envctl -n "__fish_envctl_using_subcommand help" -s q -l quiet -d 'Print results, warnings and errors only'
complete -c envctl -n "__fish_envctl_using_subcommand help" -s v -l verbose -d 'Print more about what happens'
complete -c envctl -n "__fish_envctl_using_subcommand help" -l yes -d 'Answer questions with yes (never approvals)'
complete -c envctl -n "__fish_envctl_using_subcommand help" -l no-input -d 'Ask nothing'
complete -c envctl -n "__fish_envctl_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'
