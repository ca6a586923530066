#!/bin/sh
# The tag of the repository and the release with all files in the folder $1: the last step, and the only one that a
# reader of the repository sees. A draft first, so that a tag never names a release without its files.
set -eu
cd "$1"
set -- *.whl ./*.tar ./*.json SHA256SUMS
gh release create "v$VERSION" --draft --target "$GITHUB_SHA" --title "modelcar $VERSION" \
	--notes "Image: $IMAGE:$VERSION. How to verify: docs/how-to/release.md" "$@"
gh release edit "v$VERSION" --draft=false
