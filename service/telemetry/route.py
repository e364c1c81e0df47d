"""The route that a request takes, as those who watch requests need it."""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """A rule of Flask's, its blueprint, and the model that its path names.

    `predicts` says whether a POST of it asks that model, `probe` whether machines
    request it every few seconds.
    """

    rule: str
    blueprint: str
    model: str | None
    predicts: bool
    probe: bool
