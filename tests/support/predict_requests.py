"""Predict requests, good and bad, of a model `a` that doubles a row of one number."""

from __future__ import annotations

import re
from typing import Any

PATH = "/v1/models/a:predict"
ONE_ROW = b'{"instances": [[1.5]]}'

GOOD = [
    b'{"instances": [[1.5]]}',
    b'{"instances": [[1, 2], [3, 4]]}',
    b'{"instances":[[1e3,2.5E-7,0.0]]}',
    b' { "instances" : [ [ 1 ] ] } \n',
    b'{"instances": [[7.038531e-26]]}',
    b'{"instances": [[16777217]]}',
    b'{"instances": [[1e39, 5e-324]]}',
    b'{"instances": [[18446744073709551615]]}',
    b'{"instances": [[123456789012345678901234567890]]}',
    b'{"instances": [[0.1], [0.2], [0.3]]}',
]
OPTIONED = [
    b'{"instances": [{"x": [1.5]}]}',
    b'{"instances": [[1.5]], "signature_name": "double"}',
    b'{"signature_name": "serving", "instances": [[1.5]]}',
    b'{"inputs": [[1.5]]}',
    b'{"inputs": {"x": [[1.5]], "on": true}}',
    b'{"instances": [[1.5]], "outputs": ["y"]}',
    b'{"instances": [[1.5]], "top_k": 1}',
    b'\xef\xbb\xbf{"instances": [[1.5]]}',
]
BAD = [
    b"",
    b"{",
    b"[]",
    b"1",
    b"null",
    b'{"instances": []}',
    b'{"instances": 5}',
    b'{"instances": [1.5]}',
    b'{"instances": [[[1.5]]]}',
    b'{"instances": [[1.5], [1, 2]]}',
    b'{"instances": [[1.5], 2]}',
    b'{"instances": [["1.5"]]}',
    b'{"instances": [[true]]}',
    b'{"instances": [[null]]}',
    b'{"instances": [[NaN]]}',
    b'{"instances": [[1.5]]',
    b'{"instances": [[1.5,]]}',
    b'{"instances": [[1.5]]} x',
    b'{"instances": [[1.5]]}}',
    b'{"instances": [[01]]}',
    b'{"instances": [[+1]]}',
    b'{"instances": [[1.]]}',
    b'{"instances": [[.5]]}',
    b'{"instances": [[1e]]}',
    b'{"ins tances": [[1.5]]}',
    b'{"instanc5es": [[1.5]]}',
    b'{"instances": [[1.5]], "instances": [[2.5]]}',
    b'{"instances": [[-2]]}',
    b'{"instances": [[666]]}',
    b'{"instances": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}",
    b'{"instances": ' + b"[" * 3000 + b"1" + b"]" * 3000 + b"}",
]
PATHS = [
    PATH,
    "/v1/models/a/versions/1:predict",
    "/v1/models/a/versions/7:predict",
    "/v1/models/a/versions/01:predict",
    "/v1/models/a/labels/stable:predict",
    "/v1/models/nobody:predict",
    "/v1/models/a:classify",
    "/v1/models/a:predict/",
    "//v1/models/a:predict",
    "/v1/models/%61:predict",
    "/v1/models/ä:predict",
]
HEADERS = [
    {},
    {"content-type": "application/json; charset=utf-8"},
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "image/png"},
    {"content-encoding": "gzip"},
    {"x-request-id": "mine"},
    {"x-request-id": "not mine!"},
    {"prefer": "wait=5"},
    {"prefer": "wait=never"},
    {"cache-control": "no-store"},
    {"expect": "100-continue"},
    {"host": "bad host"},
    {"content-length": "5x"},
    {"content-length": "999999"},
    {"cookie": "session=a"},
    {"accept": "text/html"},
    {"accept": "application/x-npy"},
    {"accept": "application/x-npz;q=0.5, */*"},
]


def scope_of(path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    fields = {
        "host": "tandem",
        "content-type": "application/json",
        "content-length": str(len(body)),
    } | headers
    return {
        "method": "POST",
        "path": path.replace("%61", "a"),
        "raw_path": path.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in fields.items()],
    }


def comparable(found: dict[str, str], sent: dict[str, str]) -> dict[str, str]:
    """Return an answer's headers without a made request id, and without the times."""
    left = dict(found)
    assert left.pop("x-request-id", "") in (sent.get("x-request-id"), "") or (
        sent.get("x-request-id") != "mine"
    )
    if "server-timing" in left:
        left["server-timing"] = re.sub(r"\d+\.\d{3}", "", left["server-timing"])

    return left
