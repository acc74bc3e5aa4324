# Configures and builds a flavour of the tree: release, test, asan or tsan, each in a folder of its own
# below the build root. To be sourced after common.sh.

# Takes the build folder of a flavour for this run, until `unlock_build` or the end.
lock_build() {
  make_build_folder
  exec 9>"$build_root/$1.lock"
  if ! flock -n 9; then
    say "another run is using $build_root/$1; waiting for it"
    run_child flock 9
  fi
}

unlock_build() {
  exec 9>&-
}

make_build_folder() {
  mkdir -p "$build_root" 2>/dev/null || die_unwritable "$build_root"
  local path
  for path in "$build_root" "$build_root"/*.lock; do
    [[ ! -e $path || -w $path ]] || die_unwritable "$path"
  done
}

die_unwritable() {
  local advice="set LEVADA_BUILD_DIR to a folder you may write"
  [[ -e $1 ]] || die "$1 cannot be made; $advice"
  die "$1 belongs to $(stat -c %U -- "$1") and cannot be written; remove it as its owner, or $advice"
}

# Builds a flavour; further words are put before the commands, such as `setarch -R`. The caller
# holds the lock.
build_tree() {
  local flavour=$1
  shift
  local folder=$build_root/$flavour
  check_owner "$folder"
  configure "$flavour" "$folder" "$@"
  say "building $folder"
  run_child "$@" ninja -C "$folder" -j "$(build_jobs)" || die "the build of $folder failed"
}

# A folder from an earlier run with sudo would fail later, and less clearly.
check_owner() {
  local path
  for path in "$1" "$1/CMakeCache.txt" "$1/.ninja_log"; do
    [[ ! -e $path || -w $path ]] || die_unwritable "$path"
  done
}

# Configures when there is no tree yet, or when it was made from another checkout, folder or cache
# file; such a tree is configured afresh.
configure() {
  local flavour=$1 folder=$2
  shift 2
  local cache=$repository/cmake/cache/$flavour.cmake
  local arguments=(-S "$repository" -B "$folder" -G Ninja -C "$cache")
  local stamp
  stamp=$(printf '%s\n' "${arguments[@]}" | sha256sum - "$cache")
  if [[ -e $folder/build.ninja && $(cat "$folder/configured" 2>/dev/null) == "$stamp" ]]; then
    return
  fi
  check_disk
  say "configuring $folder"
  if ! run_child "$@" cmake --fresh "${arguments[@]}" >"$run_folder/cmake.log" 2>&1; then
    show_tail "$run_folder/cmake.log" 40
    die "cmake could not configure $folder"
  fi
  printf '%s\n' "$stamp" >"$folder/configured"
}

check_disk() {
  local free_kb
  free_kb=$(df -k --output=avail -- "$build_root" | tail -n 1)
  ((free_kb >= 6 * 1024 * 1024)) ||
    die "$build_root has $((free_kb / 1024)) MB of free disk, a build needs 6144 MB"
}

# A compiler may take 1.5 GB: more of them than fit into memory would be killed.
build_jobs() {
  local memory_kb limit jobs
  memory_kb=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [[ $limit != max ]] && ((limit / 1024 < memory_kb)); then memory_kb=$((limit / 1024)); fi
  jobs=$((memory_kb / 1536 / 1024))
  if ((jobs > $(nproc))); then jobs=$(nproc); fi
  echo $((jobs > 0 ? jobs : 1))
}
