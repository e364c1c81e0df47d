#!/usr/bin/env bash
# OpenTelemetry's Python exporter takes the milliseconds of OTEL_EXPORTER_OTLP_TIMEOUT as
# seconds.
#
# What: the specification of the OTLP exporter gives OTEL_EXPORTER_OTLP_TIMEOUT in
#   milliseconds, 10000 by default. With 100, an export to a collector that answers after
#   half a second should time out; it succeeds, since the exporter would wait for 100
#   seconds. Whoever sets the default by name, 10000, waits for nearly three hours. The
#   times of the batch processor, OTEL_BSP_..., are milliseconds in the same program.
# Versions: opentelemetry-exporter-otlp-proto-http 1.45.2, opentelemetry-sdk 1.45.2,
#   Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   a timeout of 100, an answer after 0.5 s: SUCCESS
#   a timeout of 0.1, an answer after 0.5 s: FAILURE
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opentelemetry-sdk==1.45.2 \
    opentelemetry-exporter-otlp-proto-http==1.45.2

cat > "$folder/export.py" <<'PYTHON'
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

logging.disable()
SECONDS = 0.5


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SECONDS)
        try:
            self.send_response(200)
            self.end_headers()
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Noting(SpanExporter):
    def __init__(self, inner):
        self.inner, self.result = inner, None

    def export(self, spans):
        self.result = self.inner.export(spans)
        return self.result

    def shutdown(self):
        self.inner.shutdown()


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1/traces"
exporter = Noting(OTLPSpanExporter(endpoint=url))
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
provider.get_tracer("finding").start_span("one").end()
print(exporter.result.name)
PYTHON

export_with() { OTEL_EXPORTER_OTLP_TIMEOUT=$1 "$folder/venv/bin/python" "$folder/export.py"; }

long=$(export_with 100)
short=$(export_with 0.1)
echo "a timeout of 100, an answer after 0.5 s: $long"
echo "a timeout of 0.1, an answer after 0.5 s: $short"
if [[ "$long $short" != "SUCCESS FAILURE" ]]; then
    echo "the behaviour has changed" >&2
    exit 1
fi

echo confirmed
