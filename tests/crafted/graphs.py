"""Frozen graphs with an operation that reaches outside, in every possible way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.python.framework.op_def_library import apply_op

from inference.backend import tf, tf1
from tests.crafted.case import Crafted
from tests.crafted.graph_files import UNSAFE, behind_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.crafted.graph_files import Harm

raw = tf.raw_ops
FLOAT = {"dtype": tf.float32}


def whole_file(canary: str) -> Any:
    queue = raw.FIFOQueueV2(component_types=[tf.string])
    put = raw.QueueEnqueueV2(handle=queue, components=[tf.constant("/etc/hostname")])

    with tf.control_dependencies([put]):
        return raw.ReaderReadV2(
            reader_handle=raw.WholeFileReaderV2(), queue_handle=queue
        )


def saved(canary: str) -> Any:
    return raw.SaveV2(
        prefix=canary,
        tensor_names=["a"],
        shape_and_slices=[""],
        tensors=[tf.constant([1.0])],
    )


def dataset() -> Any:
    return raw.TensorSliceDataset(
        components=[tf.constant(["a"])], output_shapes=[tf.TensorShape([])]
    )


def nested_program(canary: str) -> Any:
    """Put a graph in a string, which writes when its dataset is made and read."""
    body = tf.data.Dataset.from_tensors(tf.constant("sung")).map(
        lambda text: (tf.io.write_file(canary, text), text)[1]
    )
    with tf.init_scope():
        packed = body._as_serialized_graph()

    return raw.DatasetFromGraph(graph_def=packed)


def remote(canary: str) -> Any:
    function = tf.function(lambda x: x).get_concrete_function(1.0)
    function.add_to_graph()
    return raw.RemoteCall(
        target="/job:worker/task:0", args=[1.0], Tout=[tf.float32], f=function
    )


READS: Mapping[str, Harm] = {
    "ReadFile": lambda canary: raw.ReadFile(filename="/etc/hostname"),
    "ReaderReadV2": whole_file,
    "RecordInput": lambda canary: raw.RecordInput(file_pattern="/etc/hostname"),
    "ImmutableConst": lambda canary: raw.ImmutableConst(
        dtype=tf.uint8, shape=[4], memory_region_name="/etc/hostname"
    ),
    "RestoreV2": lambda canary: raw.RestoreV2(
        prefix="/models/other", tensor_names=["a"], shape_and_slices=[""], dtypes=[1]
    ),
    "FixedUnigramCandidateSampler": lambda canary: raw.FixedUnigramCandidateSampler(
        true_classes=[[1]],
        num_true=1,
        num_sampled=1,
        unique=True,
        range_max=2,
        vocab_file="/etc/hostname",
    ),
    "InitializeTableFromTextFileV2": lambda canary: raw.InitializeTableFromTextFileV2(
        table_handle=tf1.placeholder(tf.resource, []),
        filename="/etc/hostname",
        key_index=-2,
        value_index=-1,
    ),
}

WRITES: Mapping[str, Harm] = {
    "WriteFile": lambda canary: tf.io.write_file(canary, "sung"),
    "SaveV2": saved,
    "MergeV2Checkpoints": lambda canary: raw.MergeV2Checkpoints(
        checkpoint_prefixes=["/models/other"], destination_prefix=canary
    ),
    "PrintV2": lambda canary: raw.PrintV2(
        input="sung", output_stream=f"file://{canary}"
    ),
    "DumpTensor": lambda canary: apply_op(
        "DumpTensor",
        tensor_data=tf.constant([1.0]),
        log_dir_path=canary,
        file_name="a",
        enabled=True,
        func_name="b",
        node_name="c",
    ),
    "DebugIdentityV2": lambda canary: raw.DebugIdentityV2(
        input=tf.constant([1.0]), op_name="a", debug_urls=[f"file://{canary}"]
    ),
    "CreateSummaryFileWriter": lambda canary: raw.CreateSummaryFileWriter(
        writer=raw.SummaryWriter(),
        logdir=canary,
        max_queue=1,
        flush_millis=1,
        filename_suffix="",
    ),
    "DatasetToTFRecord": lambda canary: raw.DatasetToTFRecord(
        input_dataset=dataset(), filename=canary, compression_type=""
    ),
}

LOOKS_AROUND: Mapping[str, Harm] = {
    "MatchingFiles": lambda canary: raw.MatchingFiles(pattern="/etc/*"),
    "ShardedFilespec": lambda canary: raw.ShardedFilespec(basename="a", num_shards=1),
    "FileSystemSetConfiguration": lambda canary: raw.FileSystemSetConfiguration(
        scheme="gs", key="a", value="b"
    ),
}

RUNS_PYTHON: Mapping[str, Harm] = {
    "PyFunc": lambda canary: raw.PyFunc(input=[], token="pyfunc_0", Tout=[tf.float32]),
    "EagerPyFunc": lambda canary: raw.EagerPyFunc(
        input=[], token="pyfunc_0", Tout=[tf.float32]
    ),
}

REACHES_OUT: Mapping[str, Harm] = {
    "RpcClient": lambda canary: apply_op(
        "RpcClient",
        server_address="10.0.0.1:80",
        timeout_in_ms=1,
        shared_name="",
        list_registered_methods=False,
    ),
    "RemoteCall": remote,
    "CollectiveReduceV2": lambda canary: raw.CollectiveReduceV2(
        input=[1.0],
        group_size=2,
        group_key=1,
        instance_key=1,
        ordering_token=[],
        merge_op="Add",
        final_op="Id",
    ),
}

HOLDS_PROGRAMS: Mapping[str, Harm] = {
    "DatasetFromGraph": nested_program,
    "IteratorFromStringHandleV2": lambda canary: raw.IteratorFromStringHandleV2(
        string_handle="other"
    ),
    "XlaCustomCallV2": lambda canary: apply_op(
        "XlaCustomCallV2",
        operands=[tf.constant(1.0)],
        call_target_name="system",
        backend_config="",
        has_side_effect=True,
        result_dtypes=[tf.float32],
        result_shapes=[[]],
    ),
}

ENDS_OR_HANGS: Mapping[str, Harm] = {
    "Abort": lambda canary: raw.Abort(exit_without_error=True),
    "QueueDequeueUpToV2": lambda canary: raw.QueueDequeueUpToV2(
        handle=raw.FIFOQueueV2(component_types=[tf.float32], shapes=[[]]),
        n=1,
        component_types=[tf.float32],
    ),
    "Unstage": lambda canary: raw.Unstage(dtypes=[tf.float32]),
    "SleepDataset": lambda canary: raw.SleepDataset(
        input_dataset=dataset(),
        sleep_microseconds=tf.constant(10**12, tf.int64),
        output_types=[tf.string],
        output_shapes=[[]],
    ),
    "ParseTensor": lambda canary: raw.ParseTensor(serialized="", out_type=tf.float32),
}

FAMILIES: Mapping[str, Mapping[str, Harm]] = {
    "reads": READS,
    "writes": WRITES,
    "looks_around": LOOKS_AROUND,
    "runs_python": RUNS_PYTHON,
    "reaches_out": REACHES_OUT,
    "holds_programs": HOLDS_PROGRAMS,
    "ends_or_hangs": ENDS_OR_HANGS,
}

CASES: list[Crafted] = [
    Crafted(
        name=f"graph_{family}_{op}",
        make=behind_output(harm),
        reason=rf"{op}\b.*{UNSAFE}|{UNSAFE}.*\b{op}\b",
    )
    for family, harms in FAMILIES.items()
    for op, harm in harms.items()
]
