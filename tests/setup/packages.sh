# The Debian packages and their installation. To be sourced after common.sh.

packages_build=(ca-certificates g++ cmake ninja-build pkg-config librdkafka-dev libpqxx-dev libpq-dev
  libsimdjson-dev librocksdb-dev libxxhash-dev liblz4-dev libzstd-dev libfmt-dev)
packages_postgres=(postgresql-15 pgbouncer)
packages_test=(libgtest-dev libgmock-dev libbenchmark-dev)
packages_broker=(openjdk-17-jre-headless openssl)
packages_download=(maven)
packages_checks=(clang-16 libclang-rt-16-dev)

# Installs what is missing of the named sets, in one call: Maven alone would bring a JRE of its own.
install_packages() {
  local wanted=() missing=() set_name
  for set_name in "$@"; do
    local -n packages=packages_$set_name
    wanted+=("${packages[@]}")
  done
  find_missing "${wanted[@]}"
  ((${#missing[@]} > 0)) || return 0
  find_privilege "${missing[@]}"
  lock_installation
  # The run that held the lock may have installed them.
  find_missing "${wanted[@]}"
  if ((${#missing[@]} > 0)); then apt_install "${missing[@]}"; fi
  exec 7>&-
}

# Sets `missing` to those of the packages which are not installed.
find_missing() {
  local package status
  local -A installed=()
  while read -r package status; do
    [[ $status != installed ]] || installed[$package]=1
  done < <(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  missing=()
  for package in "$@"; do
    [[ -n ${installed[$package]:-} ]] || missing+=("$package")
  done
}

# Sets `privilege` to the words that make a command run as root, or ends with what to run by hand.
find_privilege() {
  privilege=()
  if ((EUID == 0)); then return; fi
  if sudo -n true 2>/dev/null; then
    privilege=(sudo -n)
  elif [[ -t 0 ]] && command -v sudo >/dev/null; then
    say "packages are missing; sudo will ask for your password to install them"
    privilege=(sudo)
  else
    die "packages are missing and cannot be installed without root; run: apt-get install" \
      "--no-install-recommends $*"
  fi
}

# dpkg's folder is there for every user, and dpkg itself takes another kind of lock.
lock_installation() {
  exec 7</var/lib/dpkg
  if ! flock -n 7; then
    say "another run is installing packages; waiting for it"
    flock 7
  fi
}

apt_install() {
  local log=$run_folder/apt.log code=0
  say "installing $# Debian packages and what they need (takes minutes): $*"
  keep_database_off "$@"
  apt_update_and_install "$@" >"$log" 2>&1 || code=$?
  remove_keep_database_off
  if ((code != 0)); then
    show_tail "$log"
    die "apt-get could not install: $*"
  fi
}

apt_update_and_install() {
  if have_package_lists && apt_get install "$@"; then return; fi
  # The package lists are absent, or so old that what they name is gone.
  apt_update && apt_get install "$@"
}

have_package_lists() {
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null
}

# apt-get's own time-out covers the lock of dpkg, not that of the package lists, which a machine's
# unattended upgrades hold for a while after it was started.
apt_update() {
  local tries
  for ((tries = 0; tries < 30; tries++)); do
    if apt_get update; then return; fi
    grep -q 'Could not get lock' "$run_folder/apt.log" || return 1
    sleep 10
  done
  return 1
}

# Daemons that an installation may start must not inherit the locks of this run.
apt_get() {
  "${privilege[@]}" env LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a \
    apt-get -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --no-install-recommends "$@" \
    </dev/null 7>&- 8>&- 9>&-
}

# Debian's PostgreSQL makes a cluster when it is installed and starts it on port 5432, and its pgbouncer
# starts as well. Who gets them through this script has not asked for that.
database_off=/etc/postgresql-common/createcluster.d/levada.conf
pooler_off=/etc/systemd/system/pgbouncer.service

keep_database_off() {
  if [[ " $* " == *" postgresql-15 "* && ! -d /etc/postgresql-common ]]; then
    "${privilege[@]}" mkdir -p "${database_off%/*}"
    echo "create_main_cluster = false" | "${privilege[@]}" tee "$database_off" >/dev/null
  fi
  if [[ " $* " == *" pgbouncer "* && -d /run/systemd/system && ! -e $pooler_off ]]; then
    "${privilege[@]}" ln -s /dev/null "$pooler_off"
    pooler_masked=yes
  fi
}
pooler_masked=no

remove_keep_database_off() {
  if [[ -e $database_off ]]; then "${privilege[@]}" rm -f "$database_off"; fi
  if [[ $pooler_masked == yes ]]; then
    "${privilege[@]}" rm -f "$pooler_off"
    "${privilege[@]}" systemctl disable --quiet pgbouncer.service || true
  fi
}
