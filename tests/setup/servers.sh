# Gives tests and campaigns what they need: source this file, then call `provide_test_build` for the
# programs and `start_servers` for a Kafka broker, a PostgreSQL server and a pooler. Both do nothing when the
# caller, such as tests/run, has provided already. At the script's end, however it comes, the servers
# are gone; a script that has more to clean up gives a function to `at_exit` and sets no trap.

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
. "$repository/tests/setup/packages.sh"
. "$repository/tests/setup/build.sh"
. "$repository/tests/setup/launch.sh"
. "$repository/tests/setup/postgres.sh"
. "$repository/tests/setup/pgbouncer.sh"
. "$repository/tests/setup/kafka.sh"

# Prints the names of the package sets that the servers need.
server_packages() {
  echo postgres broker
  if ! kafka_libs_verified; then echo download; fi
}

# Exports LEVADA_TEST_BUILD, the folder of the built tests.
provide_test_build() {
  if [[ -n ${LEVADA_TEST_BUILD:-} ]]; then return; fi
  begin
  install_packages build test
  lock_build test
  build_tree test
  unlock_build
  export LEVADA_TEST_BUILD=$build_root/test
}

# Exports what the tests look for. Servers that the caller was given are used as they are.
start_servers() {
  if [[ -n ${LEVADA_TEST_BROKERS:-} && -n ${LEVADA_TEST_POSTGRES:-} ]]; then return; fi
  begin
  # shellcheck disable=SC2046
  install_packages $(server_packages)
  fetch_kafka
  say "starting Kafka and PostgreSQL"
  postgres_on_tcp=yes
  launch kafka
  launch postgres
  await postgres
  launch pgbouncer
  await kafka
  await pgbouncer
  make_postgres_password_user
  export_servers
}

export_servers() {
  export LEVADA_TEST_SERVERS=$run_folder
  export LEVADA_TEST_BROKERS=127.0.0.1:$kafka_port
  export LEVADA_TEST_BROKERS_SASL=127.0.0.1:$kafka_sasl_port
  export LEVADA_TEST_BROKERS_TLS=127.0.0.1:$kafka_tls_port
  export LEVADA_TEST_BROKERS_EXPIRED=127.0.0.1:$kafka_expired_port
  export LEVADA_TEST_KAFKA_CTL=$repository/tests/setup/kafka_ctl
  LEVADA_TEST_POSTGRES=$(postgres_conninfo)
  LEVADA_TEST_POSTGRES_TCP=$(postgres_tcp_conninfo)
  LEVADA_TEST_PGBOUNCER=$(pgbouncer_conninfo)
  export LEVADA_TEST_POSTGRES LEVADA_TEST_POSTGRES_TCP LEVADA_TEST_PGBOUNCER
  export LEVADA_TEST_POSTGRES_CTL=$repository/tests/setup/postgres_ctl
}
