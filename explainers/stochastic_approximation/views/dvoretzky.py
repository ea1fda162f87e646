"""The picture of Dvoretzky's theorem: what is left of the start as a bar, other steps' products, and the runs."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message, plural
from explainers.drawing.axes import axis, drawable, sendable, steps_axis
from explainers.drawing.formula import formula
from explainers.drawing.panels import Area, Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.stochastic_approximation import laws
from explainers.stochastic_approximation.dvoretzky import DvoretzkyResult
from explainers.stochastic_approximation.steps import Rule, is_broken
from explainers.stochastic_approximation.views.opening import half_way

# Rules whose products are drawn for comparison, from those that forget slowly to one that never does.
BESIDE: tuple[tuple[Rule, Hue], ...] = (
    (Rule("c/k^p", 0.5), "query"),
    (Rule("constant", 0.1), "value"),
    (Rule("1/(k+1)^2"), "score"),
)
SYMBOLS = {
    "a": Message("the step size"),
    "w": Message("the estimate"),
    "μ": Message("the mean of the samples"),
}
# product, percent: what is left of the start.
COLUMNS = ("step", "a", "percent", "mean", "expected", "product")
SENTENCE = LiveMessage(
    "Step {step:d} keeps the share 1 − {a:.4g} of what was left: **{percent:.4g}%** of the start. The seeds are at "
    "{mean:.4g} on average; {expected:.4g} is expected."
)
SENTENCE_OF_BREAK = LiveMessage(
    "Step {step:d} keeps the share 1 − {a:.4g} of what was left: **{percent:.4g}%** of the start. The seeds are at "
    "{mean:.4g} on average; without the break {expected:.4g} is expected."
)
FORMULA = r"\prod_{i \le \slot{step:d}} (1 - a_i) = \slot{product:.4g}"


def scene(result: DvoretzkyResult) -> Scene:
    """A step for each factor."""
    steps = result.params.steps
    product = np.where(np.abs(result.product) < 1e12, result.product, np.nan)
    return Scene(
        name="stochastic_approximation.dvoretzky",
        title="Is the start forgotten?",
        steps=steps,
        columns=(Column(1, (_bar(result, product), _beside(result, product))), Column(1.2, (_runs(result),))),
        words=_words(result, product),
        start=half_way(product),
        reopens=True,
        rate=max(2.0, steps / 20),
        symbols=SYMBOLS,
    )


def _bar(result: DvoretzkyResult, product: np.ndarray) -> Marks:
    """What is left, as a bar that shrinks; a line where it will stop."""
    left = drawable(product[1:], -1.0, 1.0)
    low = float(np.clip(np.nanmin(left, initial=0.0), -1, 0))
    x = Axis(
        low * 1.05,
        1.05,
        ticks=(-0.5, 0, 0.5) if low < 0 else (0, 0.25, 0.5, 0.75),
        label="of the start",
        format=".4g",
    )
    zero = np.zeros((len(left), 1))
    layers = [
        Layer("rect", x=np.zeros(1), y=np.array([0.25]), x2=np.ones(1), y2=np.array([0.75]),
              hue="muted", style="hollow"),
        Layer(
            "rect", x=Track(zero), y=Track(zero + 0.25), x2=Track(left[:, None]), y2=Track(zero + 0.75), hue="bad",
            names=("left of the start: ",), numbers=Track(sendable(product[1:, None])), format=".4g",
        ),
    ]  # fmt: skip
    if np.isfinite(result.limit) and abs(result.limit) <= 1:
        here = np.array([result.limit])
        layers.append(
            Layer(
                "segment", x=here, y=np.array([0.1]), x2=here, y2=np.array([0.9]),
              hue="good", size=5, names=("the limit: ",),
                numbers=here, format=".4g",
            )
        )  # fmt: skip
    return Marks(
        name="product",
        title="What is left of the start",
        subtitle="the product of 1 − aₖ; green line: where it goes",
        height=130,
        x=x,
        y=Axis(0, 1),
        layers=tuple(layers),
    )


def _beside(result: DvoretzkyResult, product: np.ndarray) -> Lines:
    """The product step by step, and that of steps which forget slowly, quickly, and never."""
    steps = result.params.steps
    k = np.arange(steps + 1.0)
    lines = [Line(k, product, "bad", label="what is left")]
    lines += [
        Line(
            k,
            laws.product(rule, steps),
            hue,
            label=Message("with {rule}", rule=rule.words),
            dashed=True,
        )
        for rule, hue in BESIDE
        if rule.words != result.params.used.words
    ]
    return Lines(
        name="beside",
        title="The product of 1 − aₖ, compared with that of other steps",
        subtitle="to 0: forgotten; to any other number: never",
        height=230,
        x=steps_axis(steps, first=0),
        y=Axis(min(-0.02, float(np.clip(np.nanmin(product), -1, 0))), 1.02, ticks=(0, 0.5, 1), format=".4g"),
        lines=tuple(lines),
        shown=Track(k[1:, None] + 1),
        ahead=True,
    )


def _runs(result: DvoretzkyResult) -> Lines:
    """All seeds on their way, and where they are expected."""
    params, k = result.params, result.fan_at + 1.0
    reach = 1.15 * max(abs(params.w1 - params.mu), 3 * params.sigma, 1e-9)
    low, high = params.mu - reach, params.mu + reach
    if params.w1 >= params.mu and np.nanmin(result.fan) > params.mu - 0.4 * reach:
        low = params.mu - 0.4 * reach
    every = np.arange(1.0, params.steps + 2)
    quantiles = drawable(result.fan, low, high)
    expected = Message("expected, unbroken") if is_broken(params) else Message("μ + (what is left)(w₁ − μ)")
    return Lines(
        name="runs",
        title=plural("wₖ of {count:,} seed", "wₖ of {count:,} seeds", count=params.seeds),
        subtitle="bands: 50% and 90% of the seeds",
        height=360,
        x=steps_axis(params.steps + 1),
        y=axis(low, high, room=0),
        areas=(
            Area(k, quantiles[0], quantiles[4], "output"),
            Area(k, quantiles[1], quantiles[3], "output"),
        ),
        lines=(
            Line(every, drawable(result.mean, low, high), "current", label="mean over the seeds"),
            Line(every, drawable(result.expected, low, high), "muted", label=expected, dashed=True),
            Line(every[[0, -1]], np.full(2, params.mu), "good", "μ", dashed=True),
        ),
        shown=Track(np.arange(2.0, params.steps + 2)[:, None]),
        ahead=True,
    )


def _words(result: DvoretzkyResult, product: np.ndarray) -> Words:
    steps = result.params.steps
    columns = [
        np.arange(1.0, steps + 1),
        1 - result.factors,
        100 * product[1:],
        result.mean[1:],
        result.expected[1:],
        product[1:],
    ]
    return Words(
        sentences=(SENTENCE_OF_BREAK if is_broken(result.params) else SENTENCE,),
        which=np.zeros(steps, int),
        values=sendable(np.stack(columns, axis=1)),
        formulas=(formula(FORMULA),),
        columns=COLUMNS,
    )
