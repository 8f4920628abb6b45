# shellcheck shell=bash disable=SC2034 # what is set here is used by the scripts that read this file
# Shared by the scripts of this folder: messages, questions, packages, and processes with a pid file.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$root/.skep
# Where `make up` keeps its store: not etcd's usual port, so that an etcd that happens to run here is never ours.
endpoint=127.0.0.1:23790

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Programs of the system that are not on every user's path.
PATH=$PATH:/usr/sbin:/sbin
[[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
export PATH

have() { type -P "$1" >/dev/null; }

# Asks a yes-or-no question; without a terminal the answer is no.
ask() {
    local answer
    [[ -t 0 ]] || return 1
    read -r -p "$1 [y/N] " answer
    [[ $answer == [yY]* ]]
}

# Runs a command as root: as it is for root, after a question for everybody else.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    else
        have sudo || fail "run as root: $*"
        ask "Run with sudo: $* ?" || fail "not done: sudo $*"
        sudo "$@"
    fi
}

# Installs Debian packages without starting, now or at the next boot, the services that they bring: what is needed is
# started by whoever needs it.
install_packages() {
    have apt-get || fail "install these with your package manager: $*"
    say "installing: $*"
    as_root env DEBIAN_FRONTEND=noninteractive bash -c "$(declare -f install_quietly); install_quietly \"\$@\"" bash "$@"
}

# Runs as root, in a shell of its own.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # The list of packages of a fresh machine may be too old to install from, or missing.
    apt-get install -y --no-install-recommends "$@" ||
        { apt-get update && apt-get install -y --no-install-recommends "$@"; } || return 1
    [[ -d /run/systemd/system ]] || return 0
    local package
    for package in "$@"; do
        case $package in
        etcd-server) systemctl disable --quiet etcd ;;
        prometheus) systemctl disable --quiet prometheus ;;
        esac
    done
}

# --- processes that `make up` starts ---

# When a process started; with its id it names one process for good.
start_time() {
    local stat words
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name in parentheses may hold spaces; the start is the 20th word after it.
    read -ra words <<<"${stat##*) }"
    printf '%s\n' "${words[19]}"
}

# The process id in `.skep/NAME.pid`, if that process still runs and is the one that we started.
running() {
    local pid start command
    read -r pid start 2>/dev/null <"$state/$1.pid" || return 1
    [[ $(start_time "$pid") == "$start" ]] || return 1
    command=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || return 1
    [[ $command == *"$state"* ]] || return 1
    printf '%s\n' "$pid"
}

# Starts a program in the background: `.skep/NAME.pid`, `.skep/NAME.log`. Its command line names $state.
background() {
    local name=$1 pid
    shift
    setsid "$@" >>"$state/$name.log" 2>&1 </dev/null &
    pid=$!
    printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$state/$name.pid"
}

# Ends a program that we started; after 20 s without mercy.
end() {
    local pid _
    if pid=$(running "$1"); then
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 200); do
            running "$1" >/dev/null || break
            sleep 0.1
        done
        if pid=$(running "$1"); then kill -KILL "$pid" 2>/dev/null || true; fi
    fi
    rm -f "$state/$1.pid"
}

# Waits up to $1 seconds until a command succeeds; one dot a second.
wait_for() {
    local seconds=$1 count
    shift
    for ((count = 0; count < seconds * 5; count++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    return 1
}
