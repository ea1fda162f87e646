"""What is known exactly of w_{k+1} = w_k + a_k (x_k - w_k), for independent x_k of mean mu and variance sigma^2.

    w_{K+1} = prod_k (1 - a_k) w_1 + sum_i a_i prod_{k > i} (1 - a_k) x_i

Source: Zhao 2025, sections 6.1 and 6.3 (Dvoretzky); the rest follows by taking means and variances.
"""

from __future__ import annotations

import numpy as np

from explainers.stochastic_approximation.steps import Rule


def product(rule: Rule, steps: int) -> np.ndarray:
    """(steps + 1,) prod_{i <= k} (1 - a_i): the share of the start in w_{k+1}; 1 first."""
    with np.errstate(over="ignore"):
        return np.concatenate([[1.0], np.cumprod(1 - rule.at(np.arange(1, steps + 1)))])


def weights(rule: Rule, steps: int) -> np.ndarray:
    """(steps + 1,) the shares of w_1, x_1, ..., x_steps in w_{steps + 1}."""
    a = rule.at(np.arange(1, steps + 1))
    with np.errstate(over="ignore", invalid="ignore"):
        later = np.cumprod(np.concatenate([[1.0], 1 - a[::-1]]))[::-1]  # prod_{k > i} for i = 0, 1, ...
        return np.concatenate([[1.0], a]) * later


def variance(rule: Rule, sigma: float, steps: int) -> np.ndarray:
    """(steps + 1,) Var w_{k+1} = (1 - a_k)^2 Var w_k + a_k^2 sigma^2; 0 first."""
    made, v = [0.0], np.float64(0.0)
    with np.errstate(over="ignore"):
        for a in rule.at(np.arange(1, steps + 1)):
            v = (1 - a) ** 2 * v + a**2 * sigma**2
            made.append(v)
    return np.array(made)


def steady_variance(rule: Rule, sigma: float) -> float:
    """a / (2 - a) sigma^2, to which the variance tends with a constant a below 2; NaN with other steps."""
    a = rule.constant
    return a / (2 - a) * sigma**2 if a is not None and a < 2 else np.nan
