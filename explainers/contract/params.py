"""The settings of an experiment: a declaration defines a control, address parameter, command-line flag and validation.

    class CoinParams(Params):
        tosses: int = number(10, "Tosses", "How often the coin is thrown", least=1, most=1000, comfort=(1, 100))

A page and the command line turn raw text into Params with `read`, field by field; `fit` mends the rules across fields.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, TypedDict, TypeVar, Unpack

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from explainers.contract.messages import Message

ParamsT = TypeVar("ParamsT", bound="Params")


@dataclass(frozen=True)
class Control:
    """How a person sets a field. Pydantic validates the value.

    comfort: the least and greatest value that a slider offers; an address may give others that are valid.
    options: the values of a stepped slider, instead of comfort and step.
    labels: the words on screen for each value of a Literal.
    long_text: the field is a paragraph (a pasted row, a config), which needs a text area.
    """

    comfort: tuple[float, float] | None = None
    step: float | None = None
    options: tuple[int | float, ...] | None = None
    labels: Mapping[str, str] | None = None
    unit: str = ""
    long_text: bool = False


class Params(BaseModel):
    """The settings of one experiment: immutable, validated, every field with a default.

    fills: field -> its value (a preset) -> the other fields that this preset sets unless they are given.
    derived: fields whose default `derive` computes from the other fields.
    shared: fields whose value all experiments of a page that inherit them share.
    """

    fills: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    derived: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Split lists, which an address and the command line write with commas; fill in presets, then `derive`."""
        if not isinstance(values, dict):
            return values
        given = {name: _from_text(cls, name, value) for name, value in values.items()}
        filled: dict[str, Any] = {}
        for chooser, presets in cls.fills.items():
            filled |= presets.get(given.get(chooser, cls.model_fields[chooser].default), {})
        values = filled | given
        return values if values.keys() >= set(cls.derived) else {**cls.derive(values), **values}

    @classmethod
    def derive(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The defaults of the `derived` fields; none where the values do not allow it.

        values: of other fields, given or set by a preset, as text or typed, not validated yet.
        """
        return {}

    def baseline(self) -> Self:
        """The same presets, and the defaults for all other fields, derived from these settings."""
        presets = tuple((chooser, getattr(self, chooser)) for chooser in self.fills)
        return _baseline(type(self), presets).model_copy(update=dict(self._derived_here()))

    def without_derived(self) -> dict[str, Any]:
        """The fields, except those at their derived default, which changes with the others."""
        here = self._derived_here()
        return {
            name: value
            for name, value in self.model_dump().items()
            if name not in here or value != here[name]
        }

    def _derived_here(self) -> Mapping[str, Any]:
        """The derived defaults for these settings."""
        return self.derive(self.model_dump(exclude=set(self.derived))) if self.derived else {}

    @property
    def now(self) -> Params:
        """The settings that the controls show: these, or those after the last change of a live run."""
        return self

    def moved(self, differences: Mapping[str, Any], step: int) -> Mapping[str, Any]:
        """The fields to set when controls differ from `now` while the player shows this step."""
        return differences

    @property
    def needs_button(self) -> bool:
        """Whether a run with these values takes too long to start without a button."""
        return False

    @property
    def why_button(self) -> str:
        """Why a run that `needs_button` does not start at once."""
        return "This run takes longer than a click should, so it starts by a button."

    def adjustments(self) -> Iterator[Adjustment]:
        """The rules across fields that these values break, each with a value that fits.

        A page applies them and says so; the command line refuses the values with the sentence.
        """
        return iter(())


@functools.lru_cache(256)
def _baseline(params_type: type[ParamsT], presets: tuple[tuple[str, Any], ...]) -> ParamsT:
    return params_type(**dict(presets))


@dataclass(frozen=True)
class Adjustment:
    """One field to change so that the fields fit together, and the sentence that says why."""

    field: str
    value: Any
    sentence: str


class Slider(TypedDict, total=False):
    """The fields of a Control that a slider has."""

    comfort: tuple[float, float]
    step: float
    options: tuple[int | float, ...]
    unit: str


def number(
    default: float, title: str, description: str, *, least: float, most: float, **slider: Unpack[Slider]
) -> Any:
    """A field for a whole or decimal number from `least` to `most`, both allowed.

    slider: comfort (by default from `least` to `most`), step or options, and unit, as in Control.
    """
    slider.setdefault("comfort", (least, most))
    return _field(default, title, description, Control(**slider), ge=least, le=most)


def choice(default: str, title: str, description: str, labels: Mapping[str, str] | None = None) -> Any:
    """A field whose annotation is a Literal; `labels` gives the words on screen for each value."""
    return _field(default, title, description, Control(labels=labels))


def several(
    default: tuple[str, ...],
    title: str,
    description: str,
    *,
    most: int,
    labels: Mapping[str, str] | None = None,
) -> Any:
    """A field for at most `most` values, whose annotation is a tuple of a Literal; `labels` as for a choice."""
    return _field(default, title, description, Control(labels=labels), max_length=most)


def switch(default: bool, title: str, description: str) -> Any:
    """A field that is true or false."""
    return _field(default, title, description, Control())


def text(default: str, title: str, description: str, *, longest: int, long_text: bool = False) -> Any:
    """A field that holds text of at most `longest` characters (text, never a path)."""
    return _field(default, title, description, Control(long_text=long_text), max_length=longest)


def _field(default: Any, title: str, description: str, control: Control, **bounds: Any) -> Any:
    extra: Any = {"control": control}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


def control_of(params_type: type[Params], name: str) -> Control:
    """The Control declared with field `name`."""
    extra = params_type.model_fields[name].json_schema_extra
    return extra["control"] if isinstance(extra, dict) else Control()  # type: ignore[return-value]


def bounds_of(params_type: type[Params], name: str) -> tuple[float, float]:
    """The least and greatest value that field `name` accepts."""
    field = params_type.model_fields[name]
    least = next(rule.ge for rule in field.metadata if hasattr(rule, "ge"))
    most = next(rule.le for rule in field.metadata if hasattr(rule, "le"))
    return least, most


def choices_of(params_type: type[Params], name: str) -> tuple[str, ...]:
    """The values of a Literal field; empty for a field of another kind."""
    return _literals(params_type.model_fields[name].annotation)


def several_of(params_type: type[Params], name: str) -> tuple[str, ...]:
    """The values that a field for several may hold; empty for a field of another kind."""
    annotation = params_type.model_fields[name].annotation
    return _literals(typing.get_args(annotation)[0]) if typing.get_origin(annotation) is tuple else ()


def longest_of(params_type: type[Params], name: str) -> int:
    """The most values that a field for several may hold, or the most characters of a text."""
    return next(
        rule.max_length for rule in params_type.model_fields[name].metadata if hasattr(rule, "max_length")
    )


def _literals(annotation: Any) -> tuple[str, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def _from_text(params_type: type[Params], name: str, value: Any) -> Any:
    field = params_type.model_fields.get(name)
    if isinstance(value, str) and field is not None and typing.get_origin(field.annotation) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def as_text(value: Any) -> str:
    """A field's value as an address and a command line write it; `Params` reads it back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, tuple):
        return ",".join(as_text(part) for part in value)
    return str(value)


def allowed(params_type: type[Params], name: str) -> str:
    """What field `name` accepts, in words that finish the sentence 'allowed: ...'."""
    field = params_type.model_fields[name]
    if choices := choices_of(params_type, name):
        return Message("one of {choices}", choices=", ".join(choices))
    if choices := several_of(params_type, name):
        most = longest_of(params_type, name)
        return Message("at most {most} of {choices}", most=most, choices=", ".join(choices))
    if field.annotation is bool:
        return Message("true or false")
    if field.annotation in (int, float):
        least, most = bounds_of(params_type, name)
        limits = {"least": as_text(least), "most": as_text(most)}
        if field.annotation is int:
            return Message("a whole number from {least} to {most}", **limits)
        return Message("a number from {least} to {most}", **limits)
    return _allowed_text(field)


def _allowed_text(field: FieldInfo) -> str:
    longest = next((rule.max_length for rule in field.metadata if hasattr(rule, "max_length")), None)
    described = {"description": field.description or ""}
    if typing.get_origin(field.annotation) is tuple:
        return Message("a list separated by commas; {description}", **described)
    if longest is None:
        return Message("text; {description}", **described)
    return Message("text of at most {longest:,} characters; {description}", longest=longest, **described)


@dataclass(frozen=True)
class Problem:
    """A value that was not accepted: the field, what was given, and what is allowed."""

    field: str
    value: str
    allowed: str

    @property
    def sentence(self) -> str:
        shown = self.value if len(self.value) <= 40 else f"{self.value[:37]}..."
        return Message(
            "{field} = {value} is not accepted; allowed: {allowed}.",
            field=self.field, value=repr(shown), allowed=self.allowed,
        )  # fmt: skip


def read(params_type: type[ParamsT], raw: Mapping[str, str]) -> tuple[ParamsT, list[Problem]]:
    """Params from raw text, field by field: a field with a refused value keeps its default and is reported.

    raw: field name -> text, as in an address or on a command line. Unknown names are problems too.
    """
    if raw.keys() <= params_type.model_fields.keys():
        try:
            return params_type(**raw), []
        except ValidationError:
            pass  # read field by field below, to keep the accepted values
    accepted: dict[str, Any] = {}
    problems = []
    for name, value in raw.items():
        if name not in params_type.model_fields:
            names = Message("one of {choices}", choices=", ".join(params_type.model_fields))
            problems.append(Problem(name, value, names))
            continue
        try:
            params_type(**{name: value})
        except ValidationError as error:
            problems.append(Problem(name, value, _reason(error) or allowed(params_type, name)))
        else:
            accepted[name] = value
    return params_type(**accepted), problems


def _reason(error: ValidationError) -> str | None:
    """The message of our own validator, if one refused: it says more than the field's bounds."""
    own = [detail.get("ctx", {})["error"] for detail in error.errors() if detail["type"] == "value_error"]
    return own[0].args[0] if own else None


def fit(params: ParamsT) -> tuple[ParamsT, list[Adjustment]]:
    """Params that obey the rules across fields, and the adjustments made, in order."""
    made: list[Adjustment] = []
    while (adjustment := next(params.adjustments(), None)) is not None:
        made.append(adjustment)
        if len(made) > len(type(params).model_fields):
            raise RuntimeError(f"the rules of {type(params).__name__} never settle: {adjustment.sentence}")
        params = type(params)(**{**params.without_derived(), adjustment.field: adjustment.value})
    return params, made
