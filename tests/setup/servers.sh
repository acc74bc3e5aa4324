# Gives tests and campaigns a Kafka broker and a PostgreSQL server: source this file, then call
# `begin` once and `start_servers`. At the script's end, however it comes, they are gone.

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
. "$repository/tests/setup/packages.sh"
. "$repository/tests/setup/build.sh"
. "$repository/tests/setup/launch.sh"
. "$repository/tests/setup/postgres.sh"
. "$repository/tests/setup/kafka.sh"

# Prints the names of the package sets that the servers need.
server_packages() {
  echo postgres broker
  if ! kafka_libs_verified; then echo download; fi
}

# Exports what the tests look for. Servers that the caller was given are used as they are.
start_servers() {
  if [[ -n ${LEVADA_TEST_BROKERS:-} && -n ${LEVADA_TEST_POSTGRES:-} ]]; then return; fi
  # shellcheck disable=SC2046
  install_packages $(server_packages)
  fetch_kafka
  say "starting Kafka and PostgreSQL"
  postgres_on_tcp=yes
  launch kafka
  launch postgres
  await postgres
  await kafka
  make_postgres_password_user
  export_servers
}

export_servers() {
  export LEVADA_TEST_SERVERS=$run_folder
  export LEVADA_TEST_BROKERS=127.0.0.1:$kafka_port
  export LEVADA_TEST_KAFKA_CTL=$repository/tests/setup/kafka_ctl
  LEVADA_TEST_POSTGRES=$(postgres_conninfo)
  LEVADA_TEST_POSTGRES_TCP=$(postgres_tcp_conninfo)
  export LEVADA_TEST_POSTGRES LEVADA_TEST_POSTGRES_TCP
  export LEVADA_TEST_POSTGRES_CTL=$repository/tests/setup/postgres_ctl
}
