# A Kafka broker of this run's own: one node that is its own controller. To be sourced after
# launch.sh.

kafka_sums=$repository/tests/setup/SHA256SUMS
kafka_version=$(sed -n 's/^.*  kafka_2\.13-\(.*\)\.jar$/\1/p' "$kafka_sums")
kafka_libs=${LEVADA_KAFKA_LIBS:-$build_root/kafka-libs-$kafka_version}

# Succeeds if every jar is there, as it was when its sum was written down.
kafka_libs_verified() {
  [[ -d $kafka_libs ]] && (cd -- "$kafka_libs" && sha256sum --status --check "$kafka_sums") 2>/dev/null
}

# Makes sure that the jars are there. Needs Maven if they were not.
fetch_kafka() {
  if kafka_libs_verified; then return; fi
  [[ -z ${LEVADA_KAFKA_LIBS:-} ]] || die_without_kafka "they are not in LEVADA_KAFKA_LIBS"
  make_build_folder
  exec 7>"$build_root/kafka-libs.lock"
  if ! flock -n 7; then
    say "another run is fetching the Kafka broker; waiting for it"
    run_child flock 7
  fi
  kafka_libs_verified || download_kafka
  exec 7>&-
}

# Into a folder beside, renamed when it is verified.
download_kafka() {
  local new=$kafka_libs.new log=$run_folder/maven.log tries
  say "fetching the Kafka broker $kafka_version with Maven"
  for ((tries = 1; tries <= 3; tries++)); do
    rm -rf -- "$new"
    if run_maven "$new" >"$log" 2>&1; then break; fi
    ((tries < 3)) || {
      show_tail "$log"
      die_without_kafka "Maven could not fetch them"
    }
    sleep $((tries * 5))
  done
  (cd -- "$new" && sha256sum --quiet --check "$kafka_sums") >&2 ||
    die_without_kafka "what Maven fetched has other sums"
  rm -rf -- "$kafka_libs"
  mv -- "$new" "$kafka_libs"
}

run_maven() {
  local maven_options=(-B -ntp)
  # Java takes the home folder from the user's account, which may have none.
  if [[ $HOME == "$run_folder"/* ]]; then maven_options+=("-Dmaven.repo.local=$HOME/maven"); fi
  run_child mvn "${maven_options[@]}" -f "$repository/tests/setup/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$1"
}

die_without_kafka() {
  die "the jars of the Kafka broker are missing: $1; the tests need those named in $kafka_sums," \
    "fetched by Maven or in a folder that LEVADA_KAFKA_LIBS names"
}

prepare_kafka() {
  local folder=$1
  find_java "$folder"
  kafka_jars=$(sed "s|^[0-9a-f]*  |$kafka_libs/|" "$kafka_sums" | paste -s -d :)
  make_kafka_certificate "$folder" kafka 2
  make_kafka_certificate "$folder" expired -1
  write_kafka_configuration "$folder"
  rm -rf -- "$folder/data"
  mkdir "$folder/data"
  "$java" "${java_options[@]}" -cp "$kafka_jars" kafka.tools.StorageTool format \
    -t AAAAAAAAAAAAAAAAAAAAAQ -c "$folder/server.properties" >"$folder/format.log" 2>&1 || {
    show_tail "$folder/format.log"
    die "could not format the Kafka broker's folder"
  }
  write_settings "$folder" TERM KILL 'Kafka Server started' \
    setpriv --pdeathsig KILL -- "$java" "${java_options[@]}" -cp "$kafka_jars" \
    kafka.Kafka "$folder/server.properties"
}

# Debian's, wherever JAVA_HOME and PATH point to. Options for a quick start and little memory; what
# the broker unpacks goes into its folder.
find_java() {
  java=$(compgen -G '/usr/lib/jvm/java-17-openjdk-*/bin/java' | head -n 1)
  java_options=(-Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto
    -XX:-UsePerfData -Djava.net.preferIPv4Stack=true "-Djava.io.tmpdir=$1"
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info)
}

# A certificate for 127.0.0.1, signed by itself and good for so many days; with its key in one file for the broker.
make_kafka_certificate() {
  local name=$1/$2
  {
    openssl req -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.csr" -subj /CN=127.0.0.1
    echo subjectAltName=IP:127.0.0.1 >"$name.ext"
    openssl x509 -req -in "$name.csr" -signkey "$name.key" -days "$3" -extfile "$name.ext" -out "$name.pem"
  } >"$name.log" 2>&1 || {
    show_tail "$name.log"
    die "could not make a certificate for the Kafka broker"
  }
  cat "$name.key" "$name.pem" >"$name.keystore.pem"
}

# Sets the variables of these names to ports, each another one.
choose_ports() {
  local name
  local -A taken=()
  for name in "$@"; do
    local -n port=$name
    port=$(free_port)
    while [[ -n ${taken[$port]:-} ]]; do port=$(free_port); done
    taken[$port]=1
  done
}

# Addresses are numbers, since a container may know no name of itself. The internal topics are
# small, so that they are made quickly; a short session lets a killed broker come back in seconds.
# Records are kept whatever their age, since tests write times of long ago.
write_kafka_configuration() {
  local controller_port
  choose_ports kafka_port kafka_sasl_port kafka_tls_port kafka_expired_port controller_port
  cat >"$1/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL://127.0.0.1:$kafka_sasl_port,TLS://127.0.0.1:$kafka_tls_port,\
EXPIRED://127.0.0.1:$kafka_expired_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port,SASL://127.0.0.1:$kafka_sasl_port,\
TLS://127.0.0.1:$kafka_tls_port,EXPIRED://127.0.0.1:$kafka_expired_port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,EXPIRED:SSL,CONTROLLER:PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_reader="right password";
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location=$1/kafka.keystore.pem
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location=$1/expired.keystore.pem
log.dirs=$1/data
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=4194304
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
END
}
