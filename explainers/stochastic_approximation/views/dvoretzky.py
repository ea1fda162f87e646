"""The picture of Dvoretzky's theorem: a bar that says what is left of the start, its factors, and the runs."""

from __future__ import annotations

import numpy as np

from explainers.drawing.axes import axis, drawable, sendable, steps_axis
from explainers.drawing.formula import formula
from explainers.drawing.panels import Area, Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.stochastic_approximation import laws
from explainers.stochastic_approximation.dvoretzky import DvoretzkyResult
from explainers.stochastic_approximation.steps import Rule, unbroken

# Steps whose products stand beside, from those that forget slowly to those that never do.
BESIDE: tuple[tuple[Rule, Hue], ...] = (
    (Rule("c/k^p", 0.5), "query"),
    (Rule("constant", 0.1), "value"),
    (Rule("1/(k+1)^2"), "score"),
)
SYMBOLS = {"a": "the step size", "w": "the estimate", "μ": "the mean of the samples"}
SENTENCE = (
    "Step {0:d} keeps the share 1 − {1:.4g} of what was left: **{2:.4g}%** of the start. The seeds are at {3:.4g} on "
    "average; expected{unbroken} {4:.4g}."
)
FORMULA = r"\prod_{i \le \slot{0:d}} (1 - a_i) = \slot{5:.4g}"


def scene(result: DvoretzkyResult) -> Scene:
    """A step for each factor."""
    params, steps = result.params, result.params.steps
    k, a = np.arange(1.0, steps + 1), 1 - result.factors
    sentence = SENTENCE.replace("{unbroken}", unbroken(params))
    product = np.where(np.abs(result.product) < 1e12, result.product, np.nan)
    rows = np.stack([k, a, 100 * product[1:], result.mean[1:], result.expected[1:], product[1:]], axis=1)
    return Scene(
        name="stochastic_approximation.dvoretzky",
        title="Is the start forgotten?",
        steps=steps,
        columns=(Column(1, (_bar(result, product), _beside(result, product))), Column(1.2, (_runs(result),))),
        words=Words((sentence,), np.zeros(steps, int), sendable(rows), (formula(FORMULA),)),
        reopens=True,
        rate=max(2.0, params.steps / 20),
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
    lines = [Line(k, product, "bad", "what is left")]
    lines += [
        Line(k, laws.product(rule, steps), hue, f"with {rule.words}", dashed=True)
        for rule, hue in BESIDE
        if rule.words != result.params.used.words
    ]
    return Lines(
        name="beside",
        title="The product of 1 − aₖ, beside that of other steps",
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
    return Lines(
        name="runs",
        title=f"wₖ of {params.seeds:,} seeds",
        subtitle="bands: 50% and 90% of the seeds",
        height=360,
        x=steps_axis(params.steps + 1),
        y=axis(low, high, room=0),
        areas=(
            Area(k, quantiles[0], quantiles[4], "output"),
            Area(k, quantiles[1], quantiles[3], "output"),
        ),
        lines=(
            Line(every, drawable(result.mean, low, high), "current", "mean over the seeds"),
            Line(
                every,
                drawable(result.expected, low, high),
                "muted",
                "expected" + unbroken(params) if unbroken(params) else "μ + (what is left)(w₁ − μ)",
                dashed=True,
            ),
            Line(every[[0, -1]], np.full(2, params.mu), "good", "μ", dashed=True),
        ),
        shown=Track(np.arange(2.0, params.steps + 2)[:, None]),
        ahead=True,
    )
