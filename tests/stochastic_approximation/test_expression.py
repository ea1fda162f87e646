"""The functions that a reader types: what they are worth, how they rise, and what is refused."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.stochastic_approximation.expression import FUNCTIONS, parse
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams

W = np.array([-2.0, -0.5, 0.25, 1.0, 3.0])
EXPRESSIONS = st.recursive(
    st.sampled_from(["w", "1", "2.5", ".5", "3e-1"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(inner, st.sampled_from(["2", "3", "-1"])).map(lambda parts: f"({parts[0]})^{parts[1]}"),
        inner.map(lambda one: f"-{one}"),
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w^3 - 5", W**3 - 5),
        ("-w^2", -(W**2)),
        ("2^-1 * w", W / 2),
        ("2^3^2", np.full(5, 512.0)),
        ("8/4/2", np.full(5, 1.0)),
        ("1 - 2 - w", -1 - W),
        ("tanh( w-1 )", np.tanh(W - 1)),
        ("abs(w) + exp(-w) + cos(w)*sin(w)", np.abs(W) + np.exp(-W) + np.cos(W) * np.sin(W)),
        ("log(w^2)", np.log(W**2)),
        ("+w", W),
        ("w³ − 5".replace("³", "^3"), W**3 - 5),
    ],
)
def test_values(text: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(parse(text).value(W), expected, rtol=1e-14)


@given(EXPRESSIONS)
@settings(max_examples=150, deadline=None)
def test_values_are_python_s_and_slopes_those_of_small_steps(text: str) -> None:
    """Python itself reads the same text: in the test, where nothing that a stranger typed is run."""
    names = {
        "sin": math.sin,
        "cos": math.cos,
        "tanh": math.tanh,
        "exp": math.exp,
        "log": math.log,
        "abs": abs,
    }
    g = parse(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, slope = g.value(W), g.slope(W)
    h = 1e-6
    for w, worth, rises in zip(W, value, slope, strict=True):
        try:
            expected, right, left = (
                eval(text.replace("^", "**"), {**names, "w": float(one)}) for one in (w, w + h, w - h)
            )
        except (ArithmeticError, ValueError):
            continue
        if isinstance(expected, complex) or abs(expected) > 1e6:
            continue
        assert worth == pytest.approx(expected, rel=1e-9, abs=1e-12)
        rise = (right - left) / (2 * h)
        if abs(rise) < 1e3 and abs(right - 2 * expected + left) < 1e-9:  # not at a corner
            assert rises == pytest.approx(rise, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "ends too early"),
        ("w +", "ends too early"),
        ("2w", "a product needs its sign, as in 2*w"),
        ("x - 1", "character 1, 'x'"),
        ("w ** 2", "a power is written w^3"),
        ("sqrt(w)", "as in w^0.5"),
        ("ln(w)", "the natural logarithm is log"),
        ("sin w", "character 5, 'w'"),
        ("(w", "ends too early"),
        ("w)", "character 2, ')'"),
        ("__import__('os').system('id')", "character 1, '_'"),
        ("w if w else 1", "character 3, 'i'"),
        ("lambda: 0", "character 1, 'l'"),
        ("w\x00", "character 2"),
    ],
)
def test_anything_else_is_one_sentence(text: str, where: str) -> None:
    with pytest.raises(ValueError, match="numbers, w, ") as refused:
        parse(text)
    assert where in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_does_anything_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse(text).value(W)


def test_the_deepest_that_fits_is_read() -> None:
    assert parse("-" * 119 + "w").value(W)[0] == 2
    assert parse("(" * 59 + "w" + ")" * 59).value(W)[0] == -2
    assert parse("sin(" * 23 + "w" + ")" * 23).slope(W).shape == W.shape


def test_what_overflows_or_is_not_defined_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(parse("exp(w^9)").value(np.array(1e9)))
        assert np.isnan(parse("log(w)").value(np.array(-1.0)))
        assert np.isinf(parse("1/w").value(np.array(0.0)))
        assert parse("1e999").value(W)[0] == math.inf
        for text in ("log(1 - 1)", "1/(1 - 1)", "(1 - 1)^-1", "(2 - 2)^(w - w)", "1e300^9 * w"):
            assert parse(text).value(W).shape == parse(text).slope(W).shape == W.shape


def test_the_shell_refuses_in_one_line() -> None:
    command = [
        sys.executable,
        "-m",
        "explainers",
        "stochastic_approximation.robbins_monro",
        "--g",
        "w; print(1)",
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "g = 'w; print(1)' is not accepted; allowed: numbers, w, " in done.stderr
    assert "character 2, ';', does not belong there" in done.stderr


def test_a_preset_gives_way_to_what_is_typed() -> None:
    assert RobbinsMonroParams(function="cubic").g == "w^3 - 5"
    own = RobbinsMonroParams(function="cubic", g="w")
    assert (own.function, own.g, own.w1) == ("typed", "w", 0)
    assert RobbinsMonroParams(g="w^3 - 5").function == "typed"


@pytest.mark.parametrize(("text", "slope"), [("2^(w + 1)", 4 * np.log(2)), ("w^w", 1.0), ("w^3", 3.0)])
def test_a_slope_at_one_number_is_that_of_an_array(text: str, slope: float) -> None:
    g = parse(text)
    assert g.slope(np.array(1.0)) == pytest.approx(slope)
    assert g.slope(np.array([1.0])) == pytest.approx([slope])
