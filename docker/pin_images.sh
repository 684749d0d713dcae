#!/bin/sh
# Writes the digest of every foreign image into the files beside this script: postgres:17.6 becomes postgres:17.6@sha256:...
# For a machine with Docker that reaches the registries; what is pinned already stays.
set -eu
cd "$(dirname "$0")"
files="Dockerfile serving.Dockerfile compose.yaml"
for image in $(sed -nE 's/^(FROM| +image:) +([^ @]+)( .*)?$/\2/p' $files | grep -v '^medprior:' | sort -u); do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
    case "$digest" in
        sha256:????????????????????????????????????????????????????????????????) ;;
        *) echo "no digest of $image: $digest" >&2; exit 1 ;;
    esac
    pattern=$(printf %s "$image" | sed 's/[.]/[.]/g')
    sed -i -E "s#^(FROM| +image:)( +)$pattern( .*)?\$#\\1\\2$image@$digest\\3#" $files
    echo "$image@$digest"
done
