#!/usr/bin/env bash
# prometheus_client renames samples, though not their families, for `escaping=values`.
#
# What: a client that accepts OpenMetrics with `escaping=values` asks for names beyond
#   Prometheus' old character set to be encoded, as `U__`; a name within the set stays.
#   `HELP` and `TYPE` do so, but each sample of the family is renamed all the same: its
#   name belongs to no family, and no query finds it. The text format, asked likewise,
#   keeps the names.
# Versions: prometheus-client 0.26.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   OpenMetrics: # TYPE jobs counter / U__jobs__total 1.0
#   text: # TYPE jobs_total counter / jobs_total 1.0
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet prometheus-client==0.26.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder

registry = CollectorRegistry()
Counter("jobs_total", "Jobs.", registry=registry).inc()


def lines(kind):
    """Return the type and the sample of the counter."""
    encode, _ = choose_encoder(f"{kind};version=1.0.0;escaping=values")
    text = encode(registry).decode().splitlines()
    [sample] = [each for each in text if "total" in each and each[0] != "#"]
    return f"{next(each for each in text if each.startswith('# TYPE'))} / {sample}"


found = lines("application/openmetrics-text"), lines("text/plain")
print(f"OpenMetrics: {found[0]}")
print(f"text: {found[1]}")
if found != (
    "# TYPE jobs counter / U__jobs__total 1.0",
    "# TYPE jobs_total counter / jobs_total 1.0",
):
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
