#!/usr/bin/env bash
# usage: ./update.sh PREACT HTM UPLOT: take the files of those versions of the npm packages
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# take PACKAGE VERSION FILE NAME...: unpack a package and copy some of its files
take() {
  package=$1 version=$2
  shift 2
  npm pack --silent --pack-destination "$folder" "$package@$version" > /dev/null
  mkdir -p "$folder/$package"
  tar xzf "$folder/$package-$version.tgz" -C "$folder/$package"
  while (($#)); do
    # Without an import map, which is inline, a module is found by its file's name.
    sed -E -e '/^\/[\/*]# sourceMappingURL=/d' -e 's/from ?"preact"/from".\/preact.js"/' \
      "$folder/$package/package/$1" > "$2"
    shift 2
  done
}

take preact "$1" dist/preact.mjs preact.js hooks/dist/hooks.mjs hooks.js LICENSE LICENSE.preact
take htm "$2" dist/htm.module.js htm.js LICENSE LICENSE.htm
take uplot "$3" dist/uPlot.iife.min.js uplot.js dist/uPlot.min.css uplot.css LICENSE LICENSE.uplot
sed -i -E -e "s/Preact [0-9.]+/Preact $1/" -e "s/htm [0-9.]+/htm $2/" -e "s/uPlot [0-9.]+/uPlot $3/" \
  -e "s/update\.sh .*/update.sh $1 $2 $3/" README.md
