"""Live runs: changes during a run, and what the picture shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainers.contract.params import fit, read
from explainers.contract.result import as_json
from explainers.drawing.scene import Scene
from explainers.grid_world.learn_params import Algorithm
from explainers.grid_world.live import live
from explainers.grid_world.live_params import LiveParams
from explainers.grid_world.views.live import scene as live_scene

pytestmark = pytest.mark.usefixtures("compiled_agents")


# ------------------------------------------------------------------------------------------------- changes during a run


def test_a_link_with_changes_restores_every_number() -> None:
    text = "100:epsilon=0.5|900:r_forbidden=-10|1500:world=S..../.xx../..x.#/.xT../.x...|4000:alpha=0.5|6000:slip=0.2"
    first, second = (as_json(live(LiveParams(changes=text, chunk=chunk))) for chunk in (0, 1))
    again = [as_json(live(read(LiveParams, {"changes": text, "chunk": str(chunk)})[0])) for chunk in (1, 0)]
    assert [second, first] == again
    assert first["passed"]
    assert second["passed"]


def test_before_a_change_nothing_changes_and_after_it_much() -> None:
    plain, changed = live(LiveParams()), live(LiveParams(changes="3000:world=S..../.xx../..x../.x.x./.xT.."))
    same = plain.chunk.state == changed.chunk.state
    assert same[:3000].all()
    assert not same[3000:].all()
    np.testing.assert_array_equal(plain.rmse[:46], changed.rmse[:46])
    assert np.abs(plain.rmse[48:] - changed.rmse[48:]).min() > 0


def test_an_agent_under_a_new_wall_goes_to_the_start() -> None:
    chunk = live(LiveParams()).chunk
    time = next(t for t in range(1000, 2000) if chunk.state[t] not in (0, 1, 5, 17))
    cell = int(chunk.state[time])
    letters = list("S....|.xx..|..x..|.xTx.|.x...".replace("|", ""))
    letters[cell] = "#"
    world = "/".join("".join(letters[row * 5 : row * 5 + 5]) for row in range(5))
    after = live(LiveParams(changes=f"{time}:world={world}"))
    assert after.chunk.state[time] == 0
    assert cell not in after.chunk.state[time:]


def test_the_wall_of_the_blocking_maze_moves() -> None:
    """Sutton and Barto, example 8.2: after 1,000 transitions the short way closes, and a long one opens."""
    params = LiveParams(preset="blocking_maze", algorithm="dyna_q", seed=1)
    found = live(params)
    chunk = found.chunk
    passed = [cell for cell in (27, 35) if cell in chunk.state[:1000]]
    later = [cell for cell in (27, 35) if cell in chunk.state[1000:]]
    assert (passed, later) == ([35], [27])
    over = np.cumsum(found.lengths)
    assert found.lengths[over < 1000].min() == 10
    assert found.lengths[over > 4000].min() == 16


def test_the_wall_still_moves_when_another_agent_begins() -> None:
    params = LiveParams(preset="blocking_maze")
    for differences in ({"planning_steps": 50}, {"seed": 3}, {"algorithm": "sarsa"}):
        assert params.moved(differences, 0) == differences
    assert params.moved({"seed": 3}, 2000) == {"seed": 3}
    assert params.moved({"epsilon": 0.3}, 1999) == {"changes": f"{params.changes}|2000:epsilon=0.3"}
    assert params.moved({"epsilon": 0.3}, 499) == {"changes": "500:epsilon=0.3"}
    painted = params.grid.cells.size * "."
    assert params.moved({"world": painted}, 0) == {"changes": "", "world": painted}
    assert LiveParams(preset="dyna_maze").changes == ""


def test_a_moved_control_is_a_change_from_the_next_step_on() -> None:
    params = LiveParams(changes="100:epsilon=0.5|900:alpha=0.2")
    assert params.now.epsilon == 0.5
    assert params.moved({"epsilon": 0.7}, 499) == {"changes": "100:epsilon=0.5|500:epsilon=0.7"}
    assert params.moved({"epsilon": 0.7}, 99) == {"changes": "100:epsilon=0.7"}
    # a new run begins with what the controls show
    assert params.moved({"seed": 3}, 499) == {"changes": "", "seed": 3, "epsilon": 0.5, "alpha": 0.2}
    assert params.moved({"epsilon": 0.7}, 0) == {"changes": "", "epsilon": 0.7}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("now:epsilon=1", "time:setting=value"),
        ("5:seed=3", "changes of alpha"),
        ("9:alpha=0.1|5:alpha=0.2", "in the order of their times"),
        ("|".join(f"{time}:alpha=0.1" for time in range(51)), "at most 50"),
        ("5:alpha=0.1||", "time:setting=value"),
    ],
)
def test_invalid_changes_give_one_sentence(text: str, part: str) -> None:
    params, problems = read(LiveParams, {"changes": text})
    assert params.changes == ""
    assert [part in problem.sentence for problem in problems] == [True]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("alpha=0", "not accepted"),
        ("alpha=7", "not accepted"),
        ("world=S.T", "another size"),
        ("world=garbage", "not accepted"),
        ("gamma=1", "gamma = 1 has no finite values here"),
        ("world=S#.../##..../...../...../....T", "not accepted"),
        ("world=S#.../##.../...../...../....T", "from 20 on world"),
    ],
)
def test_a_change_that_does_not_fit_is_dropped_with_a_sentence(change: str, part: str) -> None:
    params, made = fit(LiveParams(changes=f"10:epsilon=0.2|20:{change}|30:epsilon=0.3"))
    assert params.changes == "10:epsilon=0.2"
    assert len(made) == 1
    assert part in made[0].sentence
    assert "allowed: " in made[0].sentence


# ----------------------------------------------------------------------------------------------- what the picture says


def panel_of(scene: Scene, name: str) -> Any:
    return next(panel for panel in scene.panels() if panel.name == name)


@pytest.mark.parametrize("algorithm", ["td0", "n_step_sarsa", "mc_epsilon_greedy"])
def test_a_delayed_update_is_shown_with_its_own_numbers(algorithm: Algorithm) -> None:
    """The updated estimate does not belong to the cell of the agent."""
    found = live(LiveParams(algorithm=algorithm, n=4, preset="random_walk"))
    words, chunk = live_scene(found).words, found.chunk
    learned_at = np.flatnonzero(~np.isnan(chunk.error) & (np.abs(chunk.error) > 1e-3))[:200]
    columns = found.q.shape[1]
    for t in learned_at:
        changed = chunk.positions[chunk.starts[t] : chunk.starts[t + 1]] // columns
        row, column = (int(words.column(name)[t]) - 1 for name in ("learned_row", "learned_column"))
        assert row * found.params.grid.columns + column in changed
        before, alpha, after, G = (words.column(name)[t] for name in ("before", "alpha", "after", "target"))
        assert after == pytest.approx(before + alpha * (G - before))
        assert "learned for row {learned_row:d}" in words.sentences[words.which[t]]
    if algorithm == "td0":  # estimates values of states, not of actions
        assert "<mi>a</mi>" not in words.formulas[words.which[learned_at[0]]]


def test_sarsa_lambda_is_shown_with_its_numbers() -> None:
    found = live(LiveParams(algorithm="sarsa_lambda", **{"lambda": 0.9}))
    words = live_scene(found).words
    reward, error, before, gamma, ahead = (
        words.column(name)[100:200] for name in ("reward", "error", "before", "gamma", "ahead")
    )
    np.testing.assert_allclose(reward + gamma * ahead - before, error, atol=1e-6 * 10)


def test_the_words_count_the_episodes() -> None:
    found = live(LiveParams(preset="cliff", chunk=1))
    episode, ended = live_scene(found).words.column("episode"), found.chunk.end > 0
    assert (np.diff(episode) == ended[:-1]).all()
    assert episode[-1] + ended[-1] == found.episodes + 1


def test_painted_cells_appear_at_once_and_are_marked_in_the_charts() -> None:
    world = ".S.../.xx../..x../.xTx./.x..."
    scene = live_scene(live(LiveParams(changes=f"1000:world={world}")))
    start = panel_of(scene, "world").start
    assert [int(start.values[start.at[t]][0]) for t in (998, 999)] == [0, 1]
    assert panel_of(scene, "distance").marks == panel_of(scene, "returns").marks == (1000.0,)


def test_the_first_estimates_are_visible() -> None:
    """On the scale of the truth the first estimates of an agent would be almost white."""
    scene = live_scene(live(LiveParams(preset="zhao_3x3", algorithm="sarsa_lambda")))
    most = panel_of(scene, "world").limit.values.ravel()
    assert (np.diff(most) >= 0).all()
    assert most[0] < most[-1] / 10


def test_ends_have_no_visits() -> None:
    found = live(LiveParams(preset="frozen_lake_4x4"))
    seen = panel_of(live_scene(found), "visits").values.keyframes[-1]
    assert np.isnan(seen[~found.params.grid.acting]).all()
    assert not np.isnan(seen[found.params.grid.acting]).any()
