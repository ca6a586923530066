#!/bin/sh
# What a release is built of, into the folder $1: the base by its digest, and the wheels of others by their hashes, for
# the Python that the base has.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
mkdir -p "$target"
target=$(cd "$target" && pwd)
cd "$here/../.."
image=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["image"])' "$here/locks/base.json")
modelcar copy "$image" "oci:$target/base:base"
version=$(python3 -m scripts.release python "$target/base")
for platform in amd64:x86_64 arm64:aarch64; do
	machine=${platform#*:}
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
		--python-version "$version" --implementation cp --abi "cp$(echo "$version" | tr -d .)" --abi abi3 --abi none \
		--platform "manylinux2014_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux_2_24_$machine" \
		--platform "manylinux_2_26_$machine" --platform "manylinux_2_28_$machine" \
		--requirement "$here/locks/image.txt" --dest "$target/wheels-${platform%:*}"
done
