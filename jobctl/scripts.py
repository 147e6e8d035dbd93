"""The scripts of ``jobctl completion`` without the names in them: ``CASES`` stands for what can
follow each command, ``VALUED`` for the options that have a value.

Each of them goes through the words before the cursor, and offers the commands or options that can
follow these; where that is something else, it asks ``jobctl`` in the way of click for bash, a line
``KIND,VALUE`` for each name. What it says of a line with a mistake is not written into that line.
"""

from __future__ import annotations

BASH = """\
# Completion of jobctl for bash.
_jobctl() {
  local word path=jobctl words="" skip=""
  # Colons divide words for bash; names of processes and queues have some.
  local -a typed
  read -ra typed <<< "${COMP_LINE:0:COMP_POINT}"
  [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && typed+=("")
  local count=$((${#typed[@]} - 1))
  local current="${typed[count]}"
  for word in "${typed[@]:1:count-1}"; do
    [[ $skip ]] && { skip=""; continue; }
    case "$word" in
      VALUED) skip=1 ;;
      -*) ;;
      *) path="$path $word" ;;
    esac
  done
  COMPREPLY=()
  if [[ ! $skip ]]; then
    case "$path" in
CASES
    esac
    case "$path:$current" in
      *:-*) words="${words#*|}" ;;
      *) words="${words%%|*}" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ ${COMPREPLY[*]} ]] && return
  fi
  local IFS=$'\\n' kind value before=""
  [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && before="${current%:*}:"
  while IFS=, read -r kind value; do
    case "$kind" in
      file) compopt -o default 2>/dev/null ;;
      plain) COMPREPLY+=("${value#"$before"}") ;;
    esac
  done < <(COMP_WORDS="${typed[*]}" COMP_CWORD=$count _JOBCTL_COMPLETE=bash_complete "$1" \\
    2>/dev/null)
}
complete -o nosort -F _jobctl jobctl 2>/dev/null || complete -F _jobctl jobctl
"""

ZSH = """\
#compdef jobctl
# Completion of jobctl for zsh.
_jobctl() {
  local word at=jobctl skip="" kind value
  local -a below flags names
  for word in "${(@)words[2,CURRENT-1]}"; do
    [[ -n $skip ]] && { skip=""; continue }
    case $word in
      (VALUED) skip=1 ;;
      (-*) ;;
      (*) at="$at $word" ;;
    esac
  done
  if [[ -z $skip ]]; then
    case $at in
CASES
    esac
    [[ ${words[CURRENT]} == -* ]] && below=($flags)
    (( $#below )) && { _describe -V jobctl below; return }
  fi
  while IFS=, read -r kind value; do
    case $kind in
      (file) _files ;;
      (dir) _files -/ ;;
      (plain) names+=($value) ;;
    esac
  done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \\
    _JOBCTL_COMPLETE=bash_complete jobctl 2>/dev/null)
  compadd -V jobctl -a names
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _jobctl "$@"
else
  compdef _jobctl jobctl
fi
"""

FISH = """\
# Completion of jobctl for fish.
function __jobctl
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l count (count $typed)
    set -l before $typed
    set -e before[1]
    set -l at jobctl
    set -l skip ''
    for word in $before
        if test -n "$skip"
            set skip ''
            continue
        end
        switch $word
            case VALUED
                set skip 1
            case '-*'
            case '*'
                set at "$at $word"
        end
    end
    set -l below
    set -l flags
    if test -z "$skip"
        switch $at
CASES
        end
        string match -q -- '-*' "$current"; and set below $flags
        if set -q below[1]
            printf '%s\\n' $below
            return
        end
    end
    # Quoted again, as each of them is one word; the last one is still as it was typed.
    set -l quoted (string escape -- $typed)
    for line in (env COMP_WORDS="$quoted $current" COMP_CWORD=$count \\
            _JOBCTL_COMPLETE=bash_complete jobctl 2>/dev/null)
        set -l told (string split --max 1 ',' -- $line)
        switch $told[1]
            case plain
                echo $told[2]
            case file
                __fish_complete_path $current
            case dir
                __fish_complete_directories $current
        end
    end
end
complete --no-files --command jobctl --arguments '(__jobctl)'
"""
