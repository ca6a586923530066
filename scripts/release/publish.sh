#!/bin/sh
# The last step, and the only one that others see: the image with its signatures, the release with all files in the
# folder $1, the repository's tag. A draft first, so that a tag never names a release without its files.
set -eu
cd "$1"
# Names of images have no capitals; those of owners may.
image=$REGISTRY/$(printf %s "$GITHUB_REPOSITORY" | tr '[:upper:]' '[:lower:]')
case $(gh release view "v$VERSION" --json isDraft --jq .isDraft 2>/dev/null || echo none) in
none) ;;
true) gh release delete "v$VERSION" --yes ;; # an earlier attempt went no further
*)
	echo "release: $VERSION is out already; what it is does not change" >&2
	exit 1
	;;
esac
# Signatures and statements first, the tag of the image last; `copy` does it in this order.
modelcar copy "oci:image:$VERSION" "$image:$VERSION"
set -- ./*.whl ./*.tar ./*.json ./SHA256SUMS
gh release create "v$VERSION" --draft --target "$GITHUB_SHA" --title "modelcar $VERSION" \
	--notes "Image: $image:$VERSION. How to verify: docs/how-to/release.md" "$@"
gh release edit "v$VERSION" --draft=false
