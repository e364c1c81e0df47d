"""The models by name: their versions, labels, and the choice of the one to answer."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from inference.errors import LabelNotFound, ModelNotFound, VersionNotFound
from inference.repository.layout import normalized_name
from inference.repository.policy import wanted
from inference.types import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from inference.lifecycle.model import Model
    from inference.repository.policy import Declaration
    from inference.repository.snapshot import FoundVersion
    from inference.types import ModelSpec, ModelStatus

_MOST_QUOTED = 3
_LONGEST_QUOTE = 500


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """One model. `found` has the versions on disk, `declaration` the policy in effect.

    `proposed` is the sidecar's present declaration: until it is adopted, the versions
    of both are served. `label_orders` were set at run time and go before declared
    labels (`None` removes one). `labels` are those in effect: a label moves only once
    its new version answers. `held` versions are served whatever the policy says, as
    labels are about to move to them. `passed_over` are problems with its entries.
    """

    name: str
    declaration: Declaration
    proposed: Declaration | None = None
    versions: dict[int, Model] = field(default_factory=dict)
    found: Mapping[int, FoundVersion] = field(default_factory=dict)
    missing: Set[int] = frozenset()
    pin_order: bool | None = None
    label_orders: Mapping[str, int | None] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    held: Set[int] = frozenset()
    passed_over: Sequence[str] = ()

    def update_found(
        self, versions: Mapping[int, FoundVersion], *, keep: bool, grace: bool
    ) -> None:
        """Record the versions on disk.

        A known version counts as removed when it is missing for the second time, or at
        once without `grace`. With `keep`, missing versions may still be there.
        """
        missing = self.found.keys() - versions.keys()
        # A folder may be replaced between two scans.
        kept = missing if keep else missing - self.missing if grace else set()
        self.missing = missing
        self.found = {**{each: self.found[each] for each in kept}, **versions}

    def adopt(self) -> None:
        """Put the proposed declaration into effect."""
        self.declaration, self.proposed = self.proposed or self.declaration, None
        self.apply_pins()

    def wanted_labels(self, declaration: Declaration | None = None) -> dict[str, int]:
        both = {**(declaration or self.declaration).labels, **self.label_orders}
        return {label: number for label, number in both.items() if number is not None}

    def wanted(self) -> list[int]:
        """Return the versions on disk that are to be served, ascending."""
        return sorted(
            {
                number
                for each in (self.declaration, self.proposed or self.declaration)
                for number in self._wanted_by(each)
            }
        )

    def apply_pins(self) -> None:
        """Pin versions by their own order, else by the model's, else by the sidecar."""
        for model in self.versions.values():
            orders = (model.pin_order, self.pin_order, self.declaration.pinned)
            model.pinned = next(order for order in orders if order is not None)

    def move_labels(self) -> None:
        """Move labels to their wanted versions, where those answer by now."""
        wanted = self.wanted_labels()
        self.labels = {
            label: number
            if label not in self.labels or self._answers(number)
            else self.labels[label]
            for label, number in wanted.items()
        }

    def obsolete(self) -> list[int]:
        """Return the versions to unload: removed ones, and replaced ones.

        One that answers goes on until its successor does, though its files are gone:
        as TensorFlow Serving's `AvailabilityPreservingPolicy` has it.
        """
        replaced = self._replaced()
        removed = self.versions.keys() - self.found.keys()
        if self.wanted() and not replaced:
            removed = {number for number in removed if not self._answers(number)}

        needed = {*self.wanted(), *self.labels.values()}
        spare = self.found.keys() & self.versions.keys() - needed if replaced else set()
        return sorted(removed | spare)

    def statuses(self) -> list[ModelStatus]:
        return [self.status(number) for number in sorted(self.versions)]

    def status(self, number: int) -> ModelStatus:
        labels = sorted(label for label, of in self.labels.items() if of == number)
        return self.versions[number].status(tuple(labels))

    def pick(self, spec: ModelSpec) -> int:
        """Return the version that answers `spec`. Raises `VersionNotFound`."""
        if spec.label is not None:
            return self._labelled(spec.label)

        if spec.version is None:
            return self._newest()

        if spec.version not in self.versions:
            raise VersionNotFound(
                f"Model '{self.name}' has no version {spec.version}; served: "
                f"{_listed(map(str, sorted(self.versions)))}."
                f"{_quoted(self.passed_over)}"
            )

        return spec.version

    def _wanted_by(self, declaration: Declaration) -> list[int]:
        labelled = {*self.wanted_labels(declaration).values(), *self.held}
        return wanted(self.found, declaration.table, labelled)

    def _newest(self) -> int:
        # Nearly all models have one, and each of their requests comes here.
        if len(self.versions) == 1:
            return next(iter(self.versions))

        if not self.versions:
            raise VersionNotFound(
                f"No version of model '{self.name}' is served: [versions] in its "
                "sidecar asks for none of those in the repository."
            )

        answering = [number for number in self.versions if self._answers(number)]
        return max(answering or self.versions)

    def _labelled(self, label: str) -> int:
        number = self.labels.get(label)

        if number is None:
            raise LabelNotFound(
                f"Model '{self.name}' has no label '{label}'; its labels are: "
                f"{_listed(sorted(self.labels))}."
            )

        if number not in self.versions:
            raise VersionNotFound(
                f"Label '{label}' of model '{self.name}' stands for version {number}, "
                "which isn't in the repository."
            )

        return number

    def _answers(self, number: int) -> bool:
        model = self.versions.get(number)
        return model is not None and model.state is ModelState.AVAILABLE

    def _replaced(self) -> bool:
        """Return whether the wanted versions are there, to replace the rest."""
        # Versions that only labels ask for replace none that the policy asks for.
        numbers = wanted(self.found, self.declaration.table, ()) or self.wanted()
        models = [self.versions[each] for each in numbers if each in self.versions]
        settled = all(model.settled for model in models)
        return settled and any(self._answers(model.id.version) for model in models)


class Catalog:
    """All entries that have a version."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._passed_over: dict[str, list[str]] = {}

    def entries(self) -> list[Entry]:
        """Sorted by name."""
        return [entry for _, entry in sorted(self._entries.items())]

    def models(self) -> list[Model]:
        return [
            model
            for entry in self.entries()
            for _, model in sorted(entry.versions.items())
        ]

    def entry(self, name: str) -> Entry:
        """Return the model's entry. Raises `ModelNotFound`."""
        if name not in self._entries:
            raise ModelNotFound(self._not_found(name))

        return self._entries[name]

    def note(self, passed_over: Mapping[str, Sequence[str]]) -> None:
        """Keep problems for error messages, by the names that models would have."""
        self._passed_over = {}

        for name, problems in passed_over.items():
            self._passed_over.setdefault(normalized_name(name), []).extend(problems)

        for entry in self._entries.values():
            entry.passed_over = passed_over.get(entry.name, ())

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def add(self, entry: Entry) -> None:
        self._entries[entry.name] = entry
        entry.passed_over = self._passed_over.get(normalized_name(entry.name), ())

    def remove(self, entry: Entry) -> None:
        # Its files may have come back: another entry has the name then.
        if self._entries.get(entry.name) is entry:
            del self._entries[entry.name]

    def find(self, spec: ModelSpec) -> Model:
        """Return the version that answers.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        entry = self.entry(spec.name)

        if len(entry.versions) == 1 and spec.version is None and spec.label is None:
            [model] = entry.versions.values()
            return model

        return entry.versions[entry.pick(spec)]

    def select(self, spec: ModelSpec) -> list[Model]:
        """Return one version, or all of a model's if `spec` names none.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        if spec.version is None and spec.label is None:
            entry = self.entry(spec.name)
            return [model for _, model in sorted(entry.versions.items())]

        return [self.find(spec)]

    def pin(self, spec: ModelSpec, pinned: bool) -> None:
        """Pin or unpin one version, or all of a model's.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        entry = self.entry(spec.name)

        for model in self.select(spec):
            model.pin_order = pinned

        if spec.version is None and spec.label is None:
            entry.pin_order = pinned

        entry.apply_pins()

    def _not_found(self, name: str) -> str:
        loose = normalized_name(name)
        names = sorted(self._entries)
        near = [each for each in names if normalized_name(each) == loose]
        then = f"did you mean '{near[0]}'? The" if near else "the"
        return (
            f"There is no model '{name}'; {then} models are: {_listed(names)}."
            f"{_quoted(self._passed_over.get(loose, ()))}"
        )


def _quoted(problems: Iterable[str]) -> str:
    """Quote some of the problems for clients, none at length."""
    some = islice(dict.fromkeys(problems), _MOST_QUOTED)
    quoted = " ".join(textwrap.shorten(problem, _LONGEST_QUOTE) for problem in some)
    return f" Passed over: {quoted}" if quoted else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
