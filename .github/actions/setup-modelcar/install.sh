#!/bin/sh
# Install modelcar as it is at the commit that this action was called by, into a folder that the job throws away.
# Every package is named with its hashes: this job may sign in your name.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=$RUNNER_TEMP/modelcar-program
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
	--requirement "$root/scripts/release/locks/tools.txt"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation "$root"
echo "$folder/bin" >>"$GITHUB_PATH"
