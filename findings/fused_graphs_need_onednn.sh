#!/usr/bin/env bash
# A graph that TensorFlow's own optimiser (Grappler's remapper) rewrote where oneDNN is on
# doesn't run where it is off, and the error names neither oneDNN nor the fusion.
#
# oneDNN is on by default on x86-64 Linux where the CPU has AVX512-VNNI and its like, off
# on older ones: a graph that was optimised in one place and is run in another meets both.
# Of two common patterns, each with weights as constants:
#   depthwise convolution + bias + relu6 (any MobileNet)
#     -> "Missing 0-th output from {{node Relu6}}"
#   convolution + AddV2 of a bias of shape [1, 1, 1, channels] (any folded batch norm)
#     -> "bias must be 1-dimensional[1,1,1,32]"
# Both run where oneDNN is on, and the unoptimised graphs run everywhere.
#
# Versions: tensorflow-cpu 2.21.0, numpy 2.4.6, Python 3.11, x86-64 Linux.
# Run: ./fused_graphs_need_onednn.sh (a venv of 1.5 GB in a temporary folder).
# Output seen:
#   depthwise ['_FusedDepthwiseConv2dNative'] runs
#   folded ['_FusedConv2D'] runs
#   depthwise ['_FusedDepthwiseConv2dNative'] Missing 0-th output from {{node Relu6}}
#   folded ['_FusedConv2D'] bias must be 1-dimensional[1,1,1,32]
#   as described
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.4.6

cat > "$folder/graphs.py" <<'PY'
import pickle
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.grappler import tf_optimizer

tf1 = tf.compat.v1
draw = np.random.default_rng(1)


def numbers(*shape):
    return draw.normal(size=shape).astype("f")


def depthwise(x):
    product = tf.nn.depthwise_conv2d(x, numbers(3, 3, 32, 1), [1, 1, 1, 1], "SAME")
    return tf.nn.relu6(tf.nn.bias_add(product, numbers(32)))


def folded(x):
    product = tf.nn.conv2d(x, numbers(3, 3, 32, 32), 1, "SAME")
    return product + numbers(1, 1, 1, 32)


def optimised(build):
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None, 8, 8, 32], name="x")
        tf.identity(build(x), name="out")

    meta = tf1.MetaGraphDef(graph_def=graph.as_graph_def())

    for node in meta.graph_def.node:
        node.device = "/device:CPU:0"

    meta.collection_def["train_op"].node_list.value.extend(["x:0", "out:0"])
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.min_graph_nodes = -1
    options.optimizers.extend(["constfold", "remap"])
    return tf_optimizer.OptimizeGraph(config, meta).SerializeToString()


def run(content):
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(tf1.GraphDef.FromString(content), name="")

    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True

    with tf1.Session(graph=graph, config=config) as session:
        try:
            session.run("out:0", {"x:0": np.ones((1, 8, 8, 32), "f")})
        except tf.errors.OpError as exc:
            lines = [line for line in exc.message.splitlines() if "output from" in line]
            lines += [line for line in exc.message.splitlines() if "must be" in line]
            return lines[0] if lines else exc.message

    return "runs"


path = sys.argv[1]

if sys.argv[2] == "make":
    made = {each.__name__: optimised(each) for each in (depthwise, folded)}
    pickle.dump(made, open(path, "wb"))

for name, content in pickle.load(open(path, "rb")).items():
    nodes = tf1.GraphDef.FromString(content).node
    fused = sorted({node.op for node in nodes if node.op.startswith("_")})
    print(name, fused, run(content).splitlines()[0])
PY

export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
python="$folder/venv/bin/python"
TF_ENABLE_ONEDNN_OPTS=1 "$python" "$folder/graphs.py" "$folder/made" make 2>/dev/null | tee "$folder/on"
TF_ENABLE_ONEDNN_OPTS=0 "$python" "$folder/graphs.py" "$folder/made" run 2>/dev/null | tee "$folder/off"

[ "$(grep -c ' runs$' "$folder/on")" = 2 ] || { echo "changed: where it is on"; exit 1; }
grep -q "^depthwise .*_FusedDepthwiseConv2dNative.* Missing 0-th output" "$folder/off" \
    || { echo "changed: depthwise"; exit 1; }
grep -q "^folded .*_FusedConv2D.* bias must be 1-dimensional" "$folder/off" \
    || { echo "changed: folded"; exit 1; }
echo "as described"
