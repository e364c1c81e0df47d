"""Plain Flask: a view per route, a thread per request, no batching."""

from __future__ import annotations

from typing import Any

import numpy as np
from flask import Flask, jsonify, request

from benchmarks.peers.traced import Traced

app = Flask(__name__)
model = Traced()


@app.post("/predict")
def predict() -> Any:
    rows = np.asarray(request.get_json()["instances"], np.float32)
    return jsonify({"predictions": model(rows).tolist()})
