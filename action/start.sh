#!/bin/bash
# Installs Vaurien into an environment of its own, starts it in the background, and waits until its interface answers.
# What later steps need is in their PATH and their environment: vaurienctl, VAURIEN_URL.
set -euo pipefail

folder="${RUNNER_TEMP:-/tmp}/vaurien"
log="$folder/log"
url="http://localhost:$VAURIEN_ACTION_PORT"
mkdir -p "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$VAURIEN_ACTION_VERSION"

flags=(-port="$VAURIEN_ACTION_PORT")
[ -z "$VAURIEN_ACTION_CONFIG" ] || flags+=(-config="$VAURIEN_ACTION_CONFIG")
[ -z "$VAURIEN_ACTION_SEED" ] || flags+=(-seed="$VAURIEN_ACTION_SEED")
nohup "$folder/venv/bin/vaurien" serve "${flags[@]}" >"$log" 2>&1 </dev/null &
pid=$!

for _ in $(seq 300); do
    if "$folder/venv/bin/vaurienctl" --host "$url" list >/dev/null 2>&1; then
        echo "$folder/venv/bin" >>"$GITHUB_PATH"
        echo "VAURIEN_URL=$url" >>"$GITHUB_ENV"
        { echo "url=$url"; echo "log=$log"; } >>"$GITHUB_OUTPUT"
        echo "vaurien answers at $url, process $pid, log $log"
        exit 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
echo "::error::vaurien does not answer at $url"
cat "$log"
exit 1
