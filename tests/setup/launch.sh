# Starts servers that live as long as this run. To be sourced after common.sh.
#
# A server NAME has a folder below the run's folder and a function prepare_NAME, which fills it and
# calls write_settings. It is called again, for other ports, when a port turned out to be taken.

servers=()

# Starts a server without waiting for it.
launch() {
  local folder=$run_folder/$1
  if [[ ! -e $folder ]]; then
    ((${#servers[@]} > 0)) || at_exit end_servers
    mkdir "$folder"
    mkfifo "$folder/requests"
  fi
  "prepare_$1" "$folder"
  [[ -e $folder/supervisor ]] || start_supervisor "$1"
  server_ctl "$1" launch
}

# A group of its own, so that Ctrl-C reaches the servers through `end_servers` alone.
start_supervisor() {
  local folder=$run_folder/$1
  setsid setpriv --pdeathsig KILL -- bash "$repository/tests/setup/supervise.sh" "$folder" \
    </dev/null >"$folder/supervisor.log" 2>&1 9>&- &
  servers+=("$1")
  supervisors+=($!)
  until [[ -s $folder/supervisor ]]; do
    kill -0 "${supervisors[-1]}" 2>/dev/null || die "$(cat "$folder/supervisor.log")"
    sleep 0.02
  done
}
supervisors=()

# Waits until a launched server takes connections; ends the run, with the tail of its log, if it
# does not.
await() {
  local folder=$run_folder/$1 tries
  for ((tries = 1; tries <= 5; tries++)); do
    if server_ctl "$1" start 2>"$folder/ctl.log"; then return; fi
    grep -qi 'address already in use' "$folder/log" || break
    launch "$1"
  done
  # Stack traces would hide what was said.
  grep -v '^[[:space:]]*at ' "$folder/log" >"$folder/shown.log" || true
  show_tail "$folder/shown.log"
  die "could not start $1: $(sed 's/^.*error: //' "$folder/ctl.log")"
}

server_ctl() {
  bash "$repository/tests/setup/server_ctl.sh" "$run_folder/$1" "$2"
}

end_servers() {
  local index
  for index in "${!servers[@]}"; do
    server_ctl "${servers[index]}" kill
    kill -KILL "${supervisors[index]}"
    wait "${supervisors[index]}" 2>/dev/null
  done
}

# write_settings FOLDER STOP_SIGNAL KILL_SIGNAL READY_LINE COMMAND...: what supervise.sh and
# server_ctl.sh need to know.
write_settings() {
  local folder=$1 stop_signal=$2 kill_signal=$3 ready_line=$4
  shift 4
  local server_command=("$@")
  declare -p stop_signal kill_signal ready_line server_command >"$folder/settings"
}

# Prints a port of 127.0.0.1 on which nobody listens, below those the kernel gives to clients.
free_port() {
  local first_ephemeral tries port
  read -r first_ephemeral _ </proc/sys/net/ipv4/ip_local_port_range
  if ((first_ephemeral < 12000)); then first_ephemeral=32768; fi
  for ((tries = 0; tries < 100; tries++)); do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % (first_ephemeral - 10000)))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  die "found no free port"
}
