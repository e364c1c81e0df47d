"""Keras architectures that name what no model needs: code, paths, sizes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.crafted.case import Crafted
from tests.crafted.keras_lambdas import h5, zipped
from tests.crafted.keras_parts import (
    KERAS_2,
    Config,
    function,
    h5_file,
    layer,
    members,
    own,
    sequential,
    zip_file,
)

if TYPE_CHECKING:
    from pathlib import Path

GADGETS = [
    ("os", "system"),
    ("builtins", "exec"),
    ("subprocess", "Popen"),
    ("keras.utils", "get_file"),
    ("keras.src.utils.file_utils", "get_file"),
    ("keras.models", "load_model"),
    ("keras.saving", "load_weights"),
    ("keras.utils", "load_img"),
    ("keras.utils", "text_dataset_from_directory"),
    ("keras.activations", "deserialize"),
]
LOOKUPS = [
    ("StringLookup", "/etc/hostname"),
    ("IntegerLookup", "gs://bucket/vocabulary.txt"),
    ("TextVectorization", "http://169.254.169.254/latest/meta-data"),
]
CLASSES = {
    "TFSMLayer": "loads another SavedModel",
    "TorchModuleWrapper": "holds a pickle",
    "JaxLayer": "holds Python functions",
    "FlaxLayer": "holds Python functions",
    "ClassMethod": "any method of TensorFlow",
    "InstanceMethod": "any method of a tensor",
    "DenseFeatures": "vocabularies from paths",
}
NAMES = {
    "../../../tmp/x": "'..' or '.' as a part",
    "/tmp/x": "absolute path",
    "file:///tmp/x": "absolute path",
    "C:x": "absolute path",
    "..\\x": "backslash",
    "x\x00y": "unprintable",
}


def gadget(module: str, name: str) -> Crafted:
    def stack(canary: Path) -> list[Config]:
        called = function(module, name)
        return [own("Dense", name="evil", units=3, activation=called)]

    return Crafted(
        name=f"function_{module}.{name}",
        make=zipped(stack),
        reason=f"layer 'evil' names the function '{name}' of {module}",
    )


def lookup(class_name: str, path: str) -> Crafted:
    stack = [own(class_name, name="evil", vocabulary=path)]
    return Crafted(
        name=f"vocabulary_{class_name}",
        make=zipped(lambda canary: stack),
        reason=f"'vocabulary' of layer 'evil' is the path '{path}'",
    )


def dangerous(class_name: str, why: str) -> Crafted:
    stack = [own(class_name, name="evil", filepath="/tmp/x", module="eA==")]
    return Crafted(
        name=f"class_{class_name}",
        make=zipped(lambda canary: stack),
        reason=f"layer 'evil' is a {class_name}: .*{why}",
    )


def named(number: int, name: str, why: str) -> Crafted:
    stack = [own("Dense", name=name, units=3)]
    return Crafted(name=f"name_{number}", make=zipped(lambda canary: stack), reason=why)


def one(name: str, reason: str, *stack: Config, **how: Any) -> Crafted:
    make = h5(lambda canary: list(stack), **how)
    return Crafted(name=name, make=make, reason=reason)


def system(folder: Path, canary: Path) -> Path:
    """Name a function: Keras before 3.9 called any function that a file named."""
    call = own("system", "os", name="evil", command=f"touch {canary}")
    return zip_file(folder / "model.keras", members(sequential(call)))


def whole(name: str, reason: str, config: Config | str) -> Crafted:
    return Crafted(
        name=name,
        make=lambda folder, canary: h5_file(folder / "model.h5", config),
        reason=reason,
    )


def deep(levels: int) -> str:
    return '{"class_name": "Sequential", "config": ' + "[" * levels + "]" * levels + "}"


def built(shape: list[int | None]) -> Config:
    dense = own("Dense", name="evil", units=50_000)
    return dense | {"build_config": {"input_shape": shape}}


NODE = {"name": "w", "op": "WriteFile", "attr": {}}
TWICE = json.dumps(sequential()).replace(
    '"class_name"', '"class_name": "Lambda", "class_name"', 1
)
VERSION = dict(members(sequential())) | {"metadata.json": b'{"keras_version": "x"}'}

CASES = [
    *(gadget(module, name) for module, name in GADGETS),
    *(lookup(class_name, path) for class_name, path in LOOKUPS),
    *(dangerous(class_name, why) for class_name, why in CLASSES.items()),
    *(named(number, name, why) for number, (name, why) in enumerate(NAMES.items())),
    Crafted(
        name="class_os.system",
        make=system,
        reason="layer 'evil' is of the custom class 'system' of os",
    ),
    one(
        "class_of_foreign_module",
        "layer 'evil' is of the custom class 'Dense' of keras_evil.layers",
        own("Dense", "keras_evil.layers", name="evil", units=3),
        version=KERAS_2,
    ),
    one(
        "type_imported",
        "is a __typespec__: it names a Python type",
        {"class_name": "__typespec__", "spec_name": "x", "module": "antigravity"},
        version=KERAS_2,
    ),
    one(
        "type_decoded",
        "is a TypeSpec: it names a Python type",
        layer("InputLayer", type_spec={"class_name": "TypeSpec", "type_spec": "x"}),
    ),
    one(
        "import_by_a_literal",
        "has a TensorShape of a module",
        {
            "class_name": "TensorShape",
            "items": [],
            "config": {},
            "module": "antigravity",
        },
        version=KERAS_2,
    ),
    one(
        "tensorflow_function",
        "calls TensorFlow's 'io.write_file'",
        layer("TFOpLambda", function="io.write_file"),
        version=KERAS_2,
    ),
    one(
        "tensorflow_function_v1",
        "calls TensorFlow's 'py_func'",
        layer("SlicingOpLambda", function="compat.v1.py_func"),
        version=KERAS_2,
    ),
    one(
        "tensorflow_op",
        "calls TensorFlow's 'WriteFile'",
        layer("TensorFlowOpLayer", node_def=NODE),
        version=KERAS_2,
    ),
    one(
        "class_that_is_no_text",
        "names a class by a value that isn't a string",
        {"class_name": ["Lambda"], "config": {"name": "evil"}},
    ),
    one(
        "nested_loss",
        "names the function 'system' of os",
        sequential() | {"compile_config": {"loss": function("os", "system")}},
    ),
    one(
        "units_of_six_gibibytes",
        "asks for 1,600,012,800 weights or more .* but the file holds 12",
        layer("Dense", "a", units=3200),
        layer("Dense", "b", units=500_000),
    ),
    one(
        "units_twice",
        "asks for 3,600,240,000 weights or more .*'b' alone for 3,600,000,000",
        layer("Dense", "a", units=60_000),
        layer("Dense", "b", units=60_000),
    ),
    one("input_of_a_build", "asks for 2,500,000,000 weights", built([None, 50_000])),
    one(
        "embedding_of_a_tebibyte",
        "asks for 274,877,906,944 weights",
        layer("Embedding", input_dim=2**28, output_dim=2**10),
    ),
    one(
        "recurrent_units",
        "asks for 40,000,400,000 weights",
        layer("TimeDistributed", "t", layer=layer("LSTM", units=100_000)),
    ),
    one(
        "filters",
        "asks for 36,000,000 weights",
        layer("Conv2D", filters=10**6, kernel_size=[3, 3]),
    ),
    one(
        "number_of_four_thousand_digits",
        "weights or more",
        layer("Dense", units=10**4000),
    ),
    whole(
        "loss_of_an_h5",
        "names the function 'system' of os",
        sequential() | {"compile_config": {"loss": function("os", "system")}},
    ),
    whole("json_of_30000_levels", "nested too deeply", deep(30_000)),
    whole("json_of_120_levels", "nested deeper than 100", deep(120)),
    whole("json_key_twice", "has a key twice", TWICE),
    whole("json_cut", "isn't JSON", json.dumps(sequential())[:-9]),
    whole("json_list", "isn't a JSON object", "[]"),
    whole("json_of_17_mebibytes", "larger than 16,777,216 bytes", " " * (17 * 2**20)),
    Crafted(
        name="version_of_nonsense",
        make=lambda folder, canary: zip_file(folder / "model.keras", VERSION),
        reason="Keras 'x' wrote it, which isn't a version",
    ),
]
