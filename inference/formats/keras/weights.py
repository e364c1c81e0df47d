"""A bound on the weights that Keras makes while it builds a model."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def bounded_weights(layer_class: Any, name: str, bound: int) -> Iterator[None]:
    """Refuse more than `bound` values of weights in the block, before they are made.

    `layer_class` is the base of the layers of the Keras in use. All weights come
    through its `add_weight`, in every version, so no shape has to be guessed; there is
    no hook for it, hence the patch. Raises `InvalidModel`, which names the file `name`.
    """
    original = layer_class.add_weight
    signature = inspect.signature(original)
    made = 0

    def add_weight(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal made
        bound_arguments = signature.bind_partial(self, *arguments, **keywords).arguments
        asked = made + _values(bound_arguments.get("shape"))

        if asked > bound:
            raise InvalidModel(
                f"{name}: its architecture asks for {asked:,} weights or more, layer "
                f"'{self.name}' for the last of them; with what the file holds it may "
                f"have {bound:,}. Save the model again."
            )

        made = asked
        return original(self, *arguments, **keywords)

    layer_class.add_weight = add_weight

    try:
        yield
    finally:
        layer_class.add_weight = original


def _values(shape: Any) -> int:
    sizes = [] if shape is None else [shape] if isinstance(shape, int) else list(shape)
    return prod(int(size) for size in sizes if size is not None)
