#!/usr/bin/env bash
# usage: ./update.sh VERSION: take the files of that version of swagger-ui-dist
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm pack --silent --pack-destination "$folder" "swagger-ui-dist@$1" > /dev/null
tar xzf "$folder"/*.tgz -C "$folder"
for name in swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css LICENSE NOTICE; do
  sed -E '/^\/[\/*]# sourceMappingURL=/d' "$folder/package/$name" > "$name"
done
sed -i -E "s/(Swagger UI |update\.sh )[0-9.]+/\1$1/" README.md
