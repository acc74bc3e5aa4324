#!/usr/bin/env bash
# Takes a server away and brings it back on the same port:
# server_ctl.sh FOLDER stop|kill|launch|start|pause|resume. Returns when it is done: `launch` when the
# server has a process, `start` when it takes connections, `stop` and `kill` when its process is gone.
set -euo pipefail

folder=$1
action=$2
. "$folder/settings"

fail() {
  echo "${0##*/}: error: $*" >&2
  exit 1
}

# Prints the parent of a process; nothing if there is none or it has ended.
parent_of() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  # The name in parentheses may contain anything.
  set -- ${stat##*) }
  [[ $1 == Z ]] || echo "$2"
}

# Sets `server` to the process, and fails if it does not run. A number alone could be another's by
# now; only the server is the supervisor's child.
find_server() {
  server=$(cat "$folder/pid" 2>/dev/null) || return 1
  [[ $(parent_of "$server") == "$supervisor" ]]
}

# Sends a signal to the server and the processes it has made, which may not be in its group.
signal_family() {
  local path pid pids=("$server")
  for path in /proc/[0-9]*; do
    pid=${path#/proc/}
    if [[ $(parent_of "$pid") == "$server" ]]; then pids+=("$pid"); fi
  done
  kill "-$1" "${pids[@]}"
}

end_server() {
  local tries
  find_server || return 0
  kill "-$1" "$server"
  signal_family CONT 2>/dev/null || true
  for ((tries = 0; tries < 2400; tries++)); do
    find_server || return 0
    sleep 0.05
  done
  fail "the server did not end within 120 s"
}

# Asks the supervisor. Opened for reading too, the pipe takes the line without a reader. The log is a
# new one when the number of the process is there.
launch_server() {
  local tries
  find_server && return
  rm -f "$folder/pid"
  echo start 1<>"$folder/requests"
  for ((tries = 0; tries < 1200; tries++)); do
    [[ ! -e $folder/pid ]] || return 0
    sleep 0.05
  done
  fail "the supervisor does not answer"
}

wait_until_ready() {
  local tries
  for ((tries = 0; tries < 4800; tries++)); do
    if grep -qF "$ready_line" "$folder/log"; then return; fi
    find_server || fail "the server has ended"
    sleep 0.05
  done
  fail "the server is not ready after 240 s"
}

exec 3>"$folder/ctl.lock"
flock 3
supervisor=$(cat "$folder/supervisor")
case $action in
  stop) end_server "$stop_signal" ;;
  kill) end_server "$kill_signal" ;;
  launch) launch_server ;;
  start)
    launch_server
    wait_until_ready
    ;;
  pause | resume)
    find_server || fail "the server does not run"
    if [[ $action == pause ]]; then signal_family STOP; else signal_family CONT; fi
    ;;
  *) fail "unknown action: $action" ;;
esac
