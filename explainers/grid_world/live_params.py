"""The settings of a live run: an agent, the changes made to it during the run, and the chunk to show."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from pydantic import ValidationError, field_validator

from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, as_text, number, text
from explainers.grid_world import changes, learn_params
from explainers.grid_world.learn_params import OneAgentParams
from explainers.grid_world.learning import advance, first_checkpoint, phase_of
from explainers.grid_world.opening import opening
from explainers.grid_world.world_params import BLOCKED

TRANSITIONS = 5_120  # in a chunk: 80 keyframes, one every 64
MOST_CHUNKS = 1_000
MOST_STATES = 2_500  # a chunk has 80 keyframes of every estimate

# The breaks of any agent, in a run without changes.
BREAKS = tuple(replace(each, settings={**each.settings, "changes": ""}) for each in learn_params.BREAKS)


class LiveParams(OneAgentParams):
    """An agent that keeps learning while its settings change. The wall of the blocking maze moves by itself."""

    fills: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
        **OneAgentParams.fills,
        "preset": {
            **OneAgentParams.fills["preset"],
            "blocking_maze": {**OneAgentParams.fills["preset"]["blocking_maze"], "changes": BLOCKED},
        },
    }

    changes: str = text(
        "",
        "Changes",
        "what changed at which transition, as 1200:epsilon=0.3|2400:r_forbidden=-10",
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
        """The time at which each phase of the run begins, with its settings."""
        return self._applied[0]

    @property
    def now(self) -> LiveParams:
        """The settings after the last change."""
        return self.phases[-1][1]

    def moved(self, differences: Mapping[str, Any], step: int) -> Mapping[str, Any]:
        """The settings after a reader changes `differences` at a step.

        Fields that may change during a run change from the next transition on, and later changes are discarded, as the
        reader has stepped back before them. Any other field begins a new run, with the settings that the controls show.
        So does any field at the step at which the run opens: of what comes then the reader has seen nothing yet.
        A new run in the world of a preset keeps the changes of that preset, such as the wall that moves.
        """
        begins = step in (0, opening_step(self)) or not differences.keys() <= set(changes.CHANGEABLE)
        if begins and "world" not in differences and self.changes == self.baseline().changes:
            return differences
        if not differences.keys() <= set(changes.CHANGEABLE):
            changed = {
                change.field: getattr(self.now, change.field) for change in changes.parse(self.changes)
            }
            return {**changed, "changes": "", **differences}
        if begins:
            return {"changes": "", **differences}
        time = step + 1
        earlier = [change for change in changes.parse(self.changes) if change.time <= time]
        kept = [change for change in earlier if change.time < time or change.field not in differences]
        new = [changes.Change(time, name, as_text(value)) for name, value in differences.items()]
        return {"changes": changes.write((*kept, *new))}

    @cached_property
    def _applied(self) -> tuple[tuple[tuple[int, LiveParams], ...], str]:
        """The phases up to the first change that does not fit, and the sentence about it (empty if all fit)."""
        phases: list[tuple[int, LiveParams]] = [(0, self.model_copy(update={"changes": ""}))]
        for change in changes.parse(self.changes):
            try:
                phases.append((change.time, _changed(phases[-1][1], change)))
            except ValueError as error:
                return tuple(phases), error.args[0]
        return tuple(phases), ""

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.grid.states > MOST_STATES:
            sentence = Message(
                "world = {cells:,} cells is too many to watch; allowed: at most {most:,}.",
                cells=self.grid.states,
                most=MOST_STATES,
            )
            yield Adjustment("world", LiveParams.model_fields["world"].default, sentence)
        phases, problem = self._applied
        if problem:
            fitting = changes.parse(self.changes)[: len(phases) - 1]
            yield Adjustment("changes", changes.write(fitting), problem)


@functools.lru_cache(maxsize=256)
def opening_step(params: LiveParams) -> int:
    """The transition at which the picture of a run opens; 0 where no run can be computed."""
    try:
        phases = tuple(phase_of(changed, first) for first, changed in params.phases)
    except ValueError:  # the policy to predict has no values (exact.optimal)
        return 0
    chunk, _ = advance(phases, first_checkpoint(params), TRANSITIONS)
    return opening(chunk)


def _changed(params: LiveParams, change: changes.Change) -> LiveParams:
    """The settings after a change. Raises ValueError with a Message that names the field."""
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
