"""What a graph may not do when it is served: reach files, the network, the process.

Judged after pruning, since published graphs carry dead functions that read files.
"""

from __future__ import annotations

from typing import Any

from inference.errors import InvalidModel
from inference.sources.graphs import all_nodes

FILES = {
    "DebugIdentity",
    "DebugIdentityV2",
    "DebugIdentityV3",
    "DebugNanCount",
    "DebugNumericSummary",
    "DebugNumericSummaryV2",
    "DumpTensor",
    "FixedUnigramCandidateSampler",
    "FixedLengthRecordReader",
    "FixedLengthRecordReaderV2",
    "GenerateVocabRemapping",
    "ImmutableConst",
    "InitializeTableFromTextFile",
    "InitializeTableFromTextFileV2",
    "LMDBReader",
    "LoadAndRemapMatrix",
    "MatchingFiles",
    "MergeV2Checkpoints",
    "ReadFile",
    "RecordInput",
    "Restore",
    "RestoreSlice",
    "RestoreV2",
    "Save",
    "SaveSlices",
    "SaveV2",
    "ShardedFilespec",
    "Skipgram",
    "TFRecordReader",
    "TFRecordReaderV2",
    "TextLineReader",
    "TextLineReaderV2",
    "WholeFileReader",
    "WholeFileReaderV2",
    "WriteFile",
}
PROGRAMS = {
    "Abort",
    "DatasetFromGraph",
    "EagerPyFunc",
    "PyFunc",
    "PyFuncStateless",
    "RemoteCall",
    "RpcCall",
    "RpcClient",
    "RpcServer",
    "XlaCallModule",
}


def screen(graph_def: Any) -> None:
    """Raises `InvalidModel` for an operation that reaches outside the graph."""
    for node in all_nodes(graph_def):
        if node.op in FILES | PROGRAMS:
            does = "reads or writes files" if node.op in FILES else "runs other code"
            raise InvalidModel(
                f"Node '{node.name}' is a {node.op}, which {does}; a served model may "
                "not. Export the model without it."
            )
