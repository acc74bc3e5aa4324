# A PostgreSQL cluster of this run's own. To be sourced after launch.sh.

postgres_programs=/usr/lib/postgresql/15/bin
# Set to "yes" before the launch by who wants it on TCP as well, with a password.
postgres_on_tcp=no

# PostgreSQL refuses to run as root.
if ((EUID == 0)); then
  as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)
else
  as_postgres=(setpriv)
fi

prepare_postgres() {
  local folder=$1
  # A caller's defaults are for servers of theirs.
  unset "${!PG@}"
  [[ -e $folder/data ]] || make_cluster "$folder"
  write_postgres_configuration "$folder"
  # SIGQUIT is the server's "immediate" shutdown: what a crash does, but SIGKILL would leak a segment
  # of shared memory each time. It is also what it gets when the supervisor dies.
  write_settings "$folder" INT QUIT 'ready to accept connections' \
    "${as_postgres[@]}" --pdeathsig QUIT -- "$postgres_programs/postgres" -D "$folder/data"
}

# The locale is named, since the environment's may not exist.
make_cluster() {
  local folder=$1
  install -d -m 700 "$folder/data" "$folder/socket"
  if ((EUID == 0)); then chown postgres:postgres "$folder/data" "$folder/socket"; fi
  (cd / && "${as_postgres[@]}" -- "$postgres_programs/initdb" -D "$folder/data" -U postgres \
    --auth-local=trust --auth-host=scram-sha-256 --locale=C.UTF-8 -E UTF8 --no-sync) \
    >"$folder/initdb.log" 2>&1 || {
    show_tail "$folder/initdb.log"
    die "could not make a PostgreSQL cluster"
  }
}

# No parallel queries: a container's /dev/shm may have 64 MB. What is written need not survive the
# machine, only the server: no fsync.
write_postgres_configuration() {
  local folder=$1 addresses=
  postgres_port=$(free_port)
  if [[ $postgres_on_tcp == yes ]]; then addresses=127.0.0.1; fi
  cat >"$folder/data/levada.conf" <<END
listen_addresses = '$addresses'
port = $postgres_port
unix_socket_directories = '$folder/socket'
password_encryption = 'scram-sha-256'
max_connections = 200
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0
dynamic_shared_memory_type = mmap
fsync = off
full_page_writes = off
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
END
  grep -q levada.conf "$folder/data/postgresql.conf" ||
    echo "include 'levada.conf'" >>"$folder/data/postgresql.conf"
}

# Prints how to connect as the superuser, who needs no password on the socket.
postgres_conninfo() {
  echo "host=$run_folder/postgres/socket port=$postgres_port user=postgres dbname=postgres"
}

# Prints how to connect over TCP, where a password is asked for.
postgres_tcp_conninfo() {
  echo "host=127.0.0.1 port=$postgres_port user=levada password=levada dbname=postgres"
}

make_postgres_password_user() {
  "$postgres_programs/psql" -X -q -v ON_ERROR_STOP=1 -d "$(postgres_conninfo)" \
    -c "CREATE ROLE levada SUPERUSER LOGIN PASSWORD 'levada'"
}
