#!/bin/sh
# What a release is built of, into the folder $1: the wheels of others by their hashes, and the base by its digest.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
mkdir -p "$target"
for platform in amd64:x86_64 arm64:aarch64; do
	machine=${platform#*:}
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
		--python-version 3.13 --implementation cp --abi cp313 --abi abi3 --abi none \
		--platform "manylinux2014_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux_2_24_$machine" \
		--platform "manylinux_2_26_$machine" --platform "manylinux_2_28_$machine" \
		--requirement "$here/locks/image.txt" --dest "$target/wheels-${platform%:*}"
done
image=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["image"])' "$here/locks/base.json")
modelcar copy "$image" "oci:$target/base:base"
