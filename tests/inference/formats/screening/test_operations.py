"""The list of operations, against TensorFlow's own and against dangerous ones."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

from inference.formats.screening.operations import safe_operations

DANGEROUS = """
    ReadFile WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2
    FixedLengthRecordReader FixedLengthRecordReaderV2 TFRecordReader TFRecordReaderV2
    LMDBReader IdentityReader IdentityReaderV2 ReaderRead ReaderReadV2 ReaderReadUpTo
    ReaderReadUpToV2 RecordInput ImmutableConst InitializeTableFromTextFile
    InitializeTableFromTextFileV2 LoadAndRemapMatrix GenerateVocabRemapping Restore
    RestoreSlice RestoreV2 FixedUnigramCandidateSampler Skipgram

    WriteFile Save SaveV2 SaveSlices DistributedSave MergeV2Checkpoints PrintV2 Print
    DumpTensor DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount
    DebugNumericSummary DebugNumericSummaryV2 DatasetToTFRecord SaveDataset
    SaveDatasetV2 CreateSummaryFileWriter CreateSummaryDbWriter WriteAudioSummary
    WriteGraphSummary WriteHistogramSummary WriteImageSummary WriteRawProtoSummary
    WriteScalarSummary WriteSummary ImportEvent CalibrationStatisticsSaver
    CustomAggregator

    MatchingFiles MatchingFilesDataset ShardedFilespec FileSystemSetConfiguration

    PyFunc PyFuncStateless EagerPyFunc GeneratorDataset

    RpcClient RpcCall RpcServer RpcServerRegister RpcServerStart RpcGetValue
    RpcCheckStatus DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3
    DataServiceDatasetV4 RegisterDataset RegisterDatasetV2 RemoteCall Send Recv _Send
    _Recv _HostSend _HostRecv WorkerHeartbeat

    DatasetFromGraph OneShotIterator DeserializeIterator IteratorFromStringHandle
    IteratorFromStringHandleV2 XlaCallModule XlaCustomCall XlaCustomCallV2 XlaLaunch
    XlaLaunchV2 _XlaCompile _XlaRun

    Abort Stage Unstage SleepDataset Timestamp Copy CopyHost
""".split()
FAMILIES = re.compile(
    "Dataset|Iterator|TPU|Collective|Nccl|Queue|^Barrier|Reader|^Rpc|^Xla|Debug|PyFunc"
    "|^(Ordered)?Map(Stage|Unstage|Peek|Clear)|^Write|^Save|^Restore|FromTextFile|Mutex"
)


def registered() -> set[str]:
    operations = op_def_pb2.OpList()
    operations.ParseFromString(
        pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    )
    return {each.name for each in operations.op}


def test_tensorflow_has_all_listed_operations() -> None:
    assert safe_operations() - registered() == set()


def test_dangerous_operations_exist() -> None:
    """A list of names that don't exist would look longer than it is."""
    assert set(DANGEROUS) - registered() == set()


@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous_operations_are_not_listed(name: str) -> None:
    assert name not in safe_operations()


def test_families_with_outside_access_are_not_listed() -> None:
    assert [name for name in safe_operations() if FAMILIES.search(name)] == []


def test_each_operation_is_listed_once() -> None:
    text = (
        files("inference.formats.screening")
        .joinpath("allowed_ops.txt")
        .read_text("utf-8")
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]

    assert len(" ".join(lines).split()) == len(safe_operations())
