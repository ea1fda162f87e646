"""`grid_world.race`: several agents learn the same world, each with many seeds and the same random draws."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, choice, number, several
from explainers.contract.result import Check, Checked
from explainers.grid_world import compiled, learn_params
from explainers.grid_world.arrival import was_always_cut
from explainers.grid_world.exact import ROUNDING
from explainers.grid_world.learn_params import LABELS, AgentParams, Algorithm, OneAgentParams
from explainers.grid_world.learning import Checkpoint, Phase, advance, newborn, phase_of
from explainers.grid_world.memory import Kind, Memory, Schedule
from explainers.grid_world.sound import COMPARED, checks_of
from explainers.grid_world.world_params import PRESET_LABELS, Preset

LAST = 100  # the last episodes, whose mean is the online return
GREEDY_EPISODES = 20
POINTS = 50  # a smooth curve has fewer than twice as many
MOST_STEPS = 1_000_000  # of one agent
LONG = 2_000_000  # episodes of all agents; above, a page waits for a button
LONG_STEPS = 100_000_000  # the same, steps of all agents in a world whose episodes only end by being cut
BREAKS = tuple(  # of one agent, whose algorithm a race does not set
    replace(each, settings={name: value for name, value in each.settings.items() if name != "algorithm"})
    for each in learn_params.BREAKS
)


class RaceParams(AgentParams):
    """Which agents race, for how many episodes and seeds."""

    preset: Preset = choice(
        "cliff", "World", "A world of a textbook; it fills the settings that are not given", PRESET_LABELS
    )
    algorithms: tuple[Algorithm, ...] = several(
        ("sarsa", "q_learning"), "Agents", "Two to four that race", most=4, labels=LABELS
    )
    seeds: int = number(
        100,
        "Seeds",
        "Agents of each kind, each with its own random draws",
        least=1,
        most=1000,
        comfort=(1, 1000),
        step=1,
    )
    episodes: int = number(500, "Episodes", "Of each agent", least=1, most=5000, comfort=(10, 2000), step=10)

    @property
    def needs_button(self) -> bool:
        agents = self.seeds * len(self.algorithms)
        steps = min(MOST_STEPS, self.episodes * self.episode_length) if self.target == "continue" else 0
        return agents * self.episodes > LONG or agents * steps > LONG_STEPS

    @property
    def why_button(self) -> str:
        episodes = self.seeds * self.episodes * len(self.algorithms)
        return Message(
            "{episodes:,} episodes take seconds: press the button to start them.", episodes=episodes
        )

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if not self.algorithms:
            yield Adjustment(
                "algorithms",
                ("sarsa", "q_learning"),
                Message("algorithms = nobody races; allowed: one to four."),
            )
        if "td0" in self.algorithms:
            others = tuple(name for name in self.algorithms if name != "td0") or ("sarsa", "q_learning")
            sentence = Message(
                "algorithms = td0 only predicts, and has no returns to compare; allowed: the others."
            )
            yield Adjustment("algorithms", others, sentence)
        if len(set(self.algorithms)) < len(self.algorithms):
            once = tuple(dict.fromkeys(self.algorithms))
            sentence = Message("algorithms = the same agent twice; allowed: each once.")
            yield Adjustment("algorithms", once, sentence)


@dataclass(frozen=True, eq=False)
class RaceResult(Checked):
    """The returns of the agents, which are sums of rewards without discount.

    median: (algorithms, episodes) over the seeds. quartiles: (algorithms, 2, episodes). smooth: (algorithms, 3,
    points), the quartiles and between them the median over the seeds of means over `window` episodes. online_return:
    (algorithms,) the mean over the last 100 episodes of learning; online_sd: its standard deviation over the seeds.
    greedy_return: (algorithms,) the mean of the greedy policy after learning. online_median, greedy_median: their
    medians over the seeds, which a few agents that walk in circles do not affect. earned: algorithm -> its
    online_median. greedy_stuck: (algorithms,) the number of seeds whose greedy policy never ends an episode.
    best_return: the most that any policy earns on average.
    steps_per_second: learning steps of all agents per second, without compilation and greedy episodes.
    """

    median: np.ndarray
    quartiles: np.ndarray
    smooth: np.ndarray
    window: int
    online_return: np.ndarray
    greedy_return: np.ndarray
    online_median: np.ndarray
    greedy_median: np.ndarray
    earned: dict[str, float]
    greedy_stuck: np.ndarray
    online_sd: np.ndarray
    best_return: float
    steps: int
    seconds: float
    steps_per_second: float
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: RaceParams = field(metadata={"shell": False})


@experiment("grid_world.race", breaks=BREAKS)
def race(params: RaceParams) -> RaceResult:
    """Agents race with common random numbers, over many seeds."""
    compiled.wait()
    returns = np.full((len(params.algorithms), params.seeds, params.episodes), np.nan)
    greedy = np.zeros((len(params.algorithms), params.seeds, 2))
    lost: list[str] = []
    steps, seconds = 0, 0.0
    for row, algorithm in enumerate(params.algorithms):
        agent = agent_params(params, algorithm)
        phase = phase_of(agent)
        memories = [newborn(phase, agent, params.seed + k) for k in range(params.seeds)]
        start = time.perf_counter()
        steps += _learn_in_parallel(phase, memories, returns[row])
        seconds += time.perf_counter() - start
        if all(was_always_cut(params, memory) for memory in memories):
            lost.append(algorithm)
        greedy[row] = [_greedy(params, phase, memory) for memory in memories]
    # cut all agents to the number of episodes that the slowest has finished
    finished = int(np.isfinite(returns).all(axis=(0, 1)).sum())
    returns = returns[:, :, :finished]
    best, window = _best_return(params), max(1, finished // POINTS)
    online = returns[:, :, -LAST:].mean(axis=2)
    online_median = np.median(online, axis=1)
    return RaceResult(
        median=np.median(returns, axis=1),
        quartiles=_quantiles(returns, (0.25, 0.75)),
        smooth=_quantiles(_means(returns, window), (0.25, 0.5, 0.75)),
        window=window,
        online_return=online.mean(axis=1),
        greedy_return=greedy[:, :, 0].mean(axis=1),
        online_median=online_median,
        greedy_median=np.median(greedy[:, :, 0], axis=1),
        earned=dict(zip(params.algorithms, map(float, online_median), strict=True)),
        greedy_stuck=greedy[:, :, 1].sum(axis=1).astype(int),
        online_sd=online.std(axis=1),
        best_return=best,
        steps=steps,
        seconds=seconds,
        steps_per_second=steps / seconds,
        notes=(
            *_lost_in_words(params, lost),
            Message("{steps:,} steps in {seconds:.2f} s of learning.", steps=steps, seconds=seconds),
            *_notes(params, greedy[:, :, 1].sum(axis=1), finished),
        ),
        checks=tuple(_checks(params, greedy[:, :, 0], best)),
        params=params,
    )


def _means(returns: np.ndarray, window: int) -> np.ndarray:
    """(algorithms, seeds, points) the means of `window` episodes each; an incomplete window at the end is dropped."""
    points = returns.shape[2] // window
    return returns[:, :, : points * window].reshape(*returns.shape[:2], points, window).mean(axis=3)


def _quantiles(returns: np.ndarray, parts: tuple[float, ...]) -> np.ndarray:
    """(algorithms, parts, episodes) the quantiles over the seeds."""
    return np.moveaxis(np.quantile(returns, parts, axis=1), 0, 1)


def agent_params(params: RaceParams, algorithm: str) -> OneAgentParams:
    """The settings of one agent of the race."""
    shared = {name: getattr(params, name) for name in AgentParams.model_fields}
    return OneAgentParams(**shared, algorithm=algorithm)


def _learn_in_parallel(phase: Phase, memories: list[Memory], returns: np.ndarray) -> int:
    """All seeds of one agent, in threads: the compiled loop releases Python's lock. returns: (seeds, episodes)."""

    def learn(seed: int) -> int:
        lengths = np.zeros(returns.shape[1], np.int64)
        record = compiled.no_record()
        return compiled.live(
            phase.table, phase.rules, memories[seed], MOST_STEPS, returns[seed], lengths, record
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(learn, range(len(memories)), chunksize=8))


def _greedy(params: RaceParams, phase: Phase, memory: Memory) -> tuple[float, bool]:
    """The mean return of episodes in which the agent neither explores nor learns, and whether all of them were cut."""
    kind = Kind.DOUBLE_Q_LEARNING if memory.q2.size else Kind.Q_LEARNING
    fixed = {"alpha": 0.0, "schedule": int(Schedule.CONSTANT), "epsilon": 0.0, "uniform_behaviour": False}
    rules = phase.rules._replace(kind=int(kind), exploring_starts=False, **fixed)
    table = phase.table._replace(starts=np.array([params.grid.start]))
    returns, lengths, copy = np.zeros(GREEDY_EPISODES), np.zeros(GREEDY_EPISODES, np.int64), memory.copy()
    compiled.begin(table, rules, copy)
    compiled.live(table, rules, copy, MOST_STEPS, returns, lengths, compiled.no_record())
    finished = lengths > 0  # long episodes may exceed MOST_STEPS
    return float(returns[finished].mean()), bool((lengths[finished] == params.episode_length).all())


def _best_return(params: RaceParams) -> float:
    """The most that any policy earns in an episode from the start, on average and without discount."""
    world = params.grid
    moves, v = replace(world.moves, gamma=1.0), np.zeros(world.states)
    for _ in range(params.episode_length):
        # v_(t+1)(s) = max_a q_t(s, a), with t steps to go
        after = moves.backup(v).max(axis=1)
        if (after == v).all():
            break
        v = after
    return float(v[world.start])


def _checks(params: RaceParams, greedy: np.ndarray, best: float) -> Iterator[Check]:
    for algorithm in params.algorithms:
        agent = agent_params(params, algorithm)
        phase = phase_of(agent)
        chunk, _ = advance((phase,), Checkpoint(newborn(phase, agent, params.seed)), COMPARED)
        for check in checks_of(agent, phase, chunk):
            yield replace(
                check, what=Message("{algorithm}: {check}", algorithm=LABELS[algorithm], check=check.what)
            )
    if not params.slip:
        over = max(float(greedy.max()) - best, 0.0) / max(1.0, abs(best))
        yield Check(
            what="no greedy policy earns more than is possible",
            error=over,
            tolerance=ROUNDING,
            reference="exact planning",
        )


def _lost_in_words(params: RaceParams, lost: list[str]) -> Iterator[str]:
    for algorithm in lost:
        yield Message(
            "{algorithm}: no episode of any seed has reached the target within {limit:,} steps; raise the limit "
            "(longest episode).",
            algorithm=LABELS[algorithm],
            limit=params.episode_length,
        )


def _notes(params: RaceParams, stuck: np.ndarray, finished: int) -> Iterator[str]:
    if finished < params.episodes:
        yield Message(
            "Of {episodes:,} episodes {shown:,} are shown: an agent is stopped after {steps:,} steps, and not every "
            "one had finished more.",
            episodes=params.episodes,
            shown=finished,
            steps=MOST_STEPS,
        )
    if params.target == "end":
        for algorithm, seeds in zip(params.algorithms, stuck.astype(int), strict=True):
            if seeds:
                yield Message(
                    "{algorithm}: with {stuck} of {seeds} seeds the greedy policy walks in circles until it is cut "
                    "after {steps:,} steps.",
                    algorithm=LABELS[algorithm],
                    stuck=seeds,
                    seeds=params.seeds,
                    steps=params.episode_length,
                )
    yield Message(
        "Agents with the same seed see the same random draws at the same time, so that luck favours none of them."
    )
    if params.target == "continue":
        yield Message(
            "The target does not end an episode here: each is cut after {steps:,} steps.",
            steps=params.episode_length,
        )
