"""The settings of a run that goes on: an agent, the changes made to it while it ran, and the chunk to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError, field_validator

from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, as_text, number, text
from explainers.grid_world import changes, learn_params
from explainers.grid_world.learn_params import OneAgentParams

TRANSITIONS = 5_120  # of a chunk: 80 keyframes of 64
MOST_CHUNKS = 1_000
MOST_STATES = 2_500  # of a run, whose keyframes hold every estimate 80 times a chunk

# Those of any agent, in a run without changes.
BREAKS = tuple(replace(each, settings={**each.settings, "changes": ""}) for each in learn_params.BREAKS)


class LiveParams(OneAgentParams):
    """An agent that goes on learning while its settings change."""

    changes: str = text(
        "",
        "Changes",
        "What changed at which transition, as 1200:epsilon=0.3|2400:r_forbidden=-10",
        longest=20_000,
    )
    chunk: int = number(
        0,
        "Chunk",
        Message("Which {transitions:,} transitions of the run", transitions=TRANSITIONS),
        least=0,
        most=MOST_CHUNKS - 1,
        step=1,
    )

    @field_validator("changes")
    @classmethod
    def _changes_can_be_read(cls, given: str) -> str:
        changes.parse(given)
        return given

    @property
    def phases(self) -> tuple[tuple[int, LiveParams], ...]:
        """The times from which settings hold, with those settings."""
        return self._walked[0]

    @property
    def now(self) -> LiveParams:
        """The settings after the last change."""
        return self.phases[-1][1]

    def moved(self, differences: Mapping[str, Any], step: int) -> Mapping[str, Any]:
        """A change of what may change in a run holds from the next transition on; any other begins a new run.

        What was changed after the step is forgotten: the reader went back to before it. A new run begins with the
        settings that the controls show.
        """
        if not differences.keys() <= set(changes.CHANGEABLE):
            changed = {one.field: getattr(self.now, one.field) for one in changes.parse(self.changes)}
            return {**changed, "changes": "", **differences}
        if step == 0:
            return {"changes": "", **differences}
        time = step + 1
        earlier = [one for one in changes.parse(self.changes) if one.time <= time]
        kept = [one for one in earlier if one.time < time or one.field not in differences]
        new = [changes.Change(time, name, as_text(value)) for name, value in differences.items()]
        return {"changes": changes.write((*kept, *new))}

    @cached_property
    def _walked(self) -> tuple[tuple[tuple[int, LiveParams], ...], str]:
        """The phases as far as the changes fit, and the sentence about the first one that does not."""
        held: list[tuple[int, LiveParams]] = [(0, self.model_copy(update={"changes": ""}))]
        for change in changes.parse(self.changes):
            try:
                held.append((change.time, _changed(held[-1][1], change)))
            except ValueError as error:
                return tuple(held), error.args[0]
        return tuple(held), ""

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.grid.states > MOST_STATES:
            sentence = Message(
                "world = {cells:,} cells, too many to watch; allowed: at most {most:,}.",
                cells=self.grid.states,
                most=MOST_STATES,
            )
            yield Adjustment("world", LiveParams.model_fields["world"].default, sentence)
        held, problem = self._walked
        if problem:
            fitting = changes.parse(self.changes)[: len(held) - 1]
            yield Adjustment("changes", changes.write(fitting), problem)


def _changed(params: LiveParams, change: changes.Change) -> LiveParams:
    """The settings after a change. Raises ValueError with a sentence that names the field."""
    given = {"time": change.time, "field": change.field, "value": change.value[:30]}
    try:
        after = type(params)(**{**params.model_dump(), "changes": "", change.field: change.value})
    except ValidationError as error:
        raise ValueError(
            Message(
                "changes: from {time:,} on {field} = {value} is not accepted; allowed: what the field {field} accepts.",
                **given,
            )
        ) from error
    if after.grid.cells.shape != params.grid.cells.shape:
        raise ValueError(
            Message(
                "changes: from {time:,} on {field} = {value} is a world of another size; "
                "allowed: {rows} by {columns}.",
                **given,
                rows=params.grid.rows,
                columns=params.grid.columns,
            )
        )
    if (broken := next(OneAgentParams.adjustments(after), None)) is not None:
        raise ValueError(
            Message("changes: from {time:,} on {problem}", time=change.time, problem=broken.sentence)
        )
    return after
