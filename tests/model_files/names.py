"""The names of all cases, and the module of each case's builder."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "keras3": (
        *("keras3_files", "keras3_saved", "keras3_frozen"),
        *("frozen_tf1", "frozen_shapes", "frozen_tf2", "saved_tf1", "saved_tf2"),
    ),
    "keras2": ("keras2_files", "broken_keras", "broken_graphs", "broken_saved"),
}
"""The modules that one child process runs: each starts TensorFlow and Keras."""

GOOD_MODULES: Mapping[str, tuple[str, ...]] = {
    "keras3_files": (
        "h5_sequential",
        "hdf5_sequential",
        "zip_sequential",
        "h5_without_suffix",
        "h5_named_keras",
        "zip_named_h5",
        "h5_named_weights",
        "h5_compiled",
        "h5_two_in_two_out",
        "zip_two_in_two_out",
        "weights_with_json",
        "export_two_in_two_out",
        "h5_conv_batch_norm",
        "h5_embedding_lstm",
        "h5_masked",
        "zip_masked",
        "h5_nested_outputs",
        "zip_dict_outputs",
        "zip_string_lookup",
        "zip_half_precision",
        "zip_channels_first",
    ),
    "keras3_saved": (
        "saved_keras3_sequential",
        "saved_keras3_two_in_two_out",
        "saved_keras3_subclassed",
        "saved_keras3_layer_in_module",
        "saved_keras3_lookup",
    ),
    "keras3_frozen": ("frozen_keras3_lstm", "frozen_keras3_bidirectional"),
    "keras2_files": (
        "h5_keras2_sequential",
        "h5_keras2_sequential_list",
        "h5_keras2_hard_sigmoid",
        "h5_keras2_bidirectional",
        "h5_keras2_conv",
        "h5_keras2_channels_first",
        "zip_keras2_two_in_two_out",
        "keras2_weights_with_json",
        "saved_keras2_trained",
        "saved_keras2_subclassed",
    ),
    "frozen_tf1": (
        "frozen_conv_norm",
        "frozen_while_loop",
        "frozen_training_flag",
        "frozen_keep_prob",
        "frozen_default_input",
        "frozen_iterator_input",
        "frozen_asserts_and_switches",
    ),
    "frozen_shapes": (
        "frozen_time_major",
        "frozen_rows_interact",
        "frozen_unknown_rank",
        "frozen_two_in_two_out",
        "frozen_sidecar",
        "frozen_strings",
        "frozen_minimum_length",
        "frozen_fixed_batch",
    ),
    "frozen_tf2": (
        "frozen_tf2_conv",
        "frozen_functions_kept",
        "frozen_dead_function",
    ),
    "saved_tf1": (
        "saved_tf1_estimator",
        "saved_tf1_variables",
        "saved_tf1_resources",
        "saved_two_meta_graphs",
    ),
    "saved_tf2": (
        "saved_half_plus_two",
        "saved_sidecar",
        "saved_other_default",
        "saved_tf2_table",
        "saved_tf2_while",
        "saved_dtypes",
        "saved_unused_input",
        "saved_counter",
    ),
}

BROKEN_MODULES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "broken_keras": {
        "h5_custom_layer": ("Gate", "gate_7", "custom"),
        "zip_custom_layer": ("Gate", "gate_7", "custom"),
        "h5_custom_layer_inside": ("Gate", "gate_7", "custom"),
        "h5_keras2_custom_layer": ("OldGate", "gate_7", "custom"),
        "h5_custom_activation": ("swoosh", "hidden"),
        "h5_lambda": ("Lambda", "doubler"),
        "zip_lambda": ("Lambda", "doubler"),
        "sidecar_signature_of_a_keras_file": ("model.toml", "Keras"),
        "h5_keras1": ("1.2.2", "dense_1", "MaxoutDense"),
        "h5_weights_only": ("weights", "architecture", "model.json"),
        "h5_keras2_weights_only": ("weights", "architecture", "model.json"),
        "h5_subclassed_weights": ("weights", "architecture", "model.json"),
        "h5_weights_with_other_json": ("weights", "model.json"),
        "h5_no_keras": ("HDF5", "Keras"),
        "h5_without_a_weight": ("hidden", "weights"),
        "h5_cut": ("model.h5", "truncated"),
        "zip_cut": ("model.keras", "truncated"),
        "zip_without_config": ("zip", "config.json"),
        "zip_without_weights": ("model.weights.h5",),
        "h5_empty": ("empty",),
        "zip_empty": ("empty",),
        "h5_garbage": ("model.h5", "neither"),
        "zip_garbage": ("model.keras", "neither"),
    },
    "broken_graphs": {
        "pb_empty": ("empty",),
        "pb_without_nodes": ("no nodes",),
        "pb_garbage": ("model.pb", "neither"),
        "pb_text": ("text",),
        "pb_json": ("text",),
        "pb_cut_at_a_node": ("pixels", "truncated"),
        "pb_cut_before_its_weights": ("sums", "truncated"),
        "pb_cut_in_a_node": ("model.pb", "truncated"),
        "pb_only_constants": ("nothing to serve", "input"),
        "pb_with_variables": ("kernel", "frozen"),
        "pb_with_resource_variables": ("kernel", "frozen"),
        "pb_unknown_op": ("FancyPooling", "scores"),
        "pb_reads_a_file": ("ReadFile", "content"),
        "pb_checkpoint": ("model.pb", "checkpoint"),
        "pb_events": ("model.pb", "TensorBoard"),
        "sidecar_unknown_tensor": ("model.toml", "probs"),
        "sidecar_unknown_constant": ("model.toml", "keep_probability"),
        "sidecar_unknown_default": ("model.toml", "predict_images", "serving_default"),
        "sidecar_syntax_error": ("model.toml", "line 1"),
        "sidecar_unknown_key": ("model.toml", "signature", "signatures"),
        "sidecar_wrong_type": ("model.toml", "inputs"),
    },
    "broken_saved": {
        "saved_without_signatures": ("signatures",),
        "sidecar_constants_of_a_saved_model": ("model.toml", "constants", "SavedModel"),
        "saved_without_variables": ("variables",),
        "saved_without_variable_data": ("variables",),
        "saved_garbage": ("saved_model.pb",),
        "saved_cut": ("saved_model.pb", "truncated"),
        "saved_empty": ("saved_model.pb", "empty"),
        "saved_without_serve_tag": ("serve", "train"),
        "saved_as_text": ("saved_model.pbtxt", "saved_model.pb"),
        "folder_of_nothing": ("saved_model.pb",),
    },
}

MODULES: Mapping[str, Iterable[str]] = {**GOOD_MODULES, **BROKEN_MODULES}

GOOD: tuple[str, ...] = tuple(chain.from_iterable(GOOD_MODULES.values()))
"""The cases that must be served, and answer as their own framework does."""

BROKEN: Mapping[str, tuple[str, ...]] = {
    name: words for cases in BROKEN_MODULES.values() for name, words in cases.items()
}
"""The cases that must be refused, with what the message must contain (case aside)."""
