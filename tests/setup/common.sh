# What every command shares: a known environment, messages, a folder of its own, and an end that
# leaves nothing behind. To be sourced; needs bash, coreutils and util-linux only.
#
# Descriptors: 7 holds the lock of an installation, 8 that of the run's folder, 9 that of a build
# folder. Children inherit them; where a child may outlive the lock's purpose, it is closed.

[[ -z ${levada_common_sourced:-} ]] || return 0
levada_common_sourced=1

set -euo pipefail

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
program=$(cd -- "$(dirname -- "$0")" && pwd -P)/$(basename -- "$0")
program=${program#"$repository"/}
build_root=${LEVADA_BUILD_DIR:-$repository/build}
[[ $build_root == /* ]] || build_root=$PWD/$build_root

run_folder=
child=
exit_actions=()

# Messages go to standard error: standard output belongs to the program that is run.
say() {
  printf '%s: %s\n' "$program" "$*" >&2
}

die() {
  say "error: $*"
  exit 1
}

show_tail() {
  tail -n "${2:-25}" -- "$1" | sed 's/^/  | /' >&2
}

# Removes what a caller's shell may carry into compilers, servers and tests.
set_environment() {
  export LC_ALL=C.UTF-8 TZ=UTC
  unset LANGUAGE CDPATH BASH_ENV ENV DESTDIR
  unset JAVA_HOME JAVACMD JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS KAFKA_OPTS CLASSPATH
  umask 022
  ulimit -c 0
  raise_open_files
}

raise_open_files() {
  local hard
  hard=$(ulimit -H -n)
  if [[ $hard == unlimited ]] || ((hard > 65536)); then hard=65536; fi
  ulimit -S -n "$hard"
}

# Makes the folder of this run. It lies in /tmp because a Unix socket's path may have 107 bytes, and
# others may pass through it because a server started by root runs as another user. It gets its
# final name with its lock taken, so that a folder whose lock is free is that of a dead run.
make_run_folder() {
  remove_dead_run_folders
  local new
  new=$(mktemp -d /tmp/levada-new.XXXXXX)
  chmod 711 "$new"
  exec 8>"$new/lock"
  flock 8
  run_folder=/tmp/levada-run.${new##*.}
  mv -- "$new" "$run_folder"
  if [[ ! -d ${HOME:-} || ! -w $HOME ]]; then
    export HOME=$run_folder/home
    mkdir "$HOME"
  fi
}

remove_dead_run_folders() {
  local folder
  for folder in /tmp/levada-run.*; do
    [[ -O $folder && -f $folder/lock ]] || continue
    if flock -n "$folder/lock" true; then rm -rf -- "$folder"; fi
  done
}

# Runs a command in a process group of its own and returns its exit code. `wait` lets a signal end
# this script at once; the group is then ended by `end_child`. Job control also keeps the shell from
# making the command deaf to SIGINT.
run_child() {
  local code=0
  set -m
  setpriv --pdeathsig KILL -- "$@" </dev/null &
  child=$!
  set +m
  wait "$child" || code=$?
  child=
  return "$code"
}

end_child() {
  [[ -n $child ]] || return 0
  local tries
  kill -TERM -- "-$child" 2>/dev/null
  for ((tries = 0; tries < 50; tries++)); do
    kill -0 -- "-$child" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL -- "-$child" 2>/dev/null
}

# Registers a function to be called when the script ends, however it ends; last registered first.
at_exit() {
  exit_actions=("$1" "${exit_actions[@]}")
}

finish() {
  local code=$? action
  trap - EXIT
  trap '' INT TERM HUP
  set +e
  end_child
  for action in "${exit_actions[@]}"; do "$action"; done
  if [[ -n $run_folder ]]; then rm -rf -- "$run_folder"; fi
  exit "$code"
}

# Every script's first step; calling it again does nothing.
begin() {
  if [[ -n $run_folder ]]; then return; fi
  set_environment
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  make_run_folder
}
