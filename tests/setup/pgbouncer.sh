# A pooler in front of this run's PostgreSQL. To be sourced after postgres.sh; launched after it runs.

# A transaction gets any of few connections to the server, for as long as it lasts.
prepare_pgbouncer() {
  local folder=$1
  pgbouncer_port=$(free_port)
  cat >"$folder/pgbouncer.ini" <<END
[databases]
* = host=$run_folder/postgres/socket port=$postgres_port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pgbouncer_port
unix_socket_dir =
auth_type = trust
auth_file = $folder/users
admin_users = postgres
pool_mode = transaction
default_pool_size = 2
max_client_conn = 100
END
  echo '"postgres" ""' >"$folder/users"
  # As PostgreSQL, it refuses to run as root.
  write_settings "$folder" TERM KILL 'process up' \
    "${as_postgres[@]}" --pdeathsig KILL -- /usr/sbin/pgbouncer "$folder/pgbouncer.ini"
}

# Prints how to connect through it.
pgbouncer_conninfo() {
  echo "host=127.0.0.1 port=$pgbouncer_port user=postgres dbname=postgres"
}
