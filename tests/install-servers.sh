#!/bin/sh
# Installs what tests/packages.txt lists and this machine lacks, where apt-get may: as root, or by a sudo that does not
# ask. Tests start their servers themselves, on free ports; the install leaves none of Debian's services running.
set -eu
here=$(dirname "$0")

# What checks the dashboard's files, from npm, as tests/dashboard/package.json pins it. Without npm its tests are skipped.
tools() {
    folder="$here/../build/dashboard-tools"
    if command -v npm >/dev/null && ! cmp -s "$here/dashboard/package.json" "$folder/package.json"; then
        mkdir -p "$folder"
        npm install --silent --no-audit --no-fund --prefix "$folder" $(sed -n 's/^ *"\(.*\)": "\([0-9.]*\)",\{0,1\}$/\1@\2/p' \
            "$here/dashboard/package.json") </dev/null && cp "$here/dashboard/package.json" "$folder/package.json" ||
            echo "npm failed, so tests that need its tools are skipped" >&2
    fi
}

program() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" || ls /usr/lib/postgresql/*/bin/"$1" 2>/dev/null
}

missing=$(sed 's/#.*//' "$here/packages.txt" | while read -r package name; do
    if [ -n "$package" ] && ! program "$name" >/dev/null; then echo "$package"; fi
done)
[ -n "$missing" ] || { tools; exit 0; }

sudo=
if [ "$(id -u)" -ne 0 ]; then sudo="sudo -n"; fi
if ! command -v apt-get >/dev/null || { [ -n "$sudo" ] && ! $sudo true 2>/dev/null; }; then
    echo "Not installed, so tests that need them are skipped:" $missing >&2
    tools
    exit 0
fi

# invoke-rc.d(8): 101 means that no service may be started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
fi
echo "Installing for the tests:" $missing
if ! { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends $missing; } </dev/null; then
    echo "apt-get failed, so tests that need these are skipped:" $missing >&2
fi
tools
