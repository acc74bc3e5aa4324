#!/usr/bin/env bash
# Runs one server, whose folder is the argument: starts it for each line that arrives in the pipe
# `requests`. It exists because a server must be the child of a process that lives as long as the
# run: a test that starts a server again does not, and a server should not outlive the run.
set -euo pipefail

folder=$1
. "$folder/settings"
cd /
exec 3<>"$folder/requests"
echo $$ >"$folder/supervisor"

while read -r _ <&3; do
  if [[ -e $folder/log ]]; then cat "$folder/log" >>"$folder/earlier.log"; fi
  : >"$folder/log"
  "${server_command[@]}" </dev/null >>"$folder/log" 2>&1 3>&- &
  echo $! >"$folder/pid.new"
  mv "$folder/pid.new" "$folder/pid"
done
