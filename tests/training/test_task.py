from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from workbench.training import Batch, MarkovLanguage, Task, load_spec
from workbench.training.task import _STREAMS_KEPT, STEPS_PER_BLOCK, Blocks
from workbench.training.tasks import MarkovTask, build_task

# Of the tokens of steps 0, 63, 64 and 69 with seed 3, and of the evaluation text: the families
# that ship were trained on these numbers.
TOKENS = {
    0: "00b200a8abeb8e98",
    63: "657b4878abaf6970",
    64: "882f91e4616529c1",
    69: "5c9e227e312f2e3c",
}
HELD_OUT = "449f6f92b8ef40a7"


@pytest.fixture(scope="module")
def language():
    return MarkovLanguage(vocab=16)


def tokens_of(batch: Batch) -> np.ndarray:
    return np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def test_the_text_of_a_step_has_not_changed(language):
    task = MarkovTask(language, context=8)
    for step, expected in TOKENS.items():
        assert digest(tokens_of(task.batch(step, sequences=4, seed=3))) == expected
    assert digest(tokens_of(task.held_out(6))) == HELD_OUT
    assert task.entropy == language.entropy


def test_a_batch_is_a_pure_function_of_its_arguments(language):
    forward, backward = (MarkovTask(language, context=8) for _ in range(2))
    asked = [(step, seed) for step in (0, 1, 63, 64, 130) for seed in (0, 1)]
    first = {key: forward.batch(key[0], sequences=4, seed=key[1]) for key in asked}
    for key in reversed(asked):
        again = backward.batch(key[0], sequences=4, seed=key[1])
        for part in ("inputs", "targets", "surprise"):
            np.testing.assert_array_equal(getattr(first[key], part), getattr(again, part))
    assert len({digest(batch.inputs) for batch in first.values()}) == len(asked)


def test_targets_follow_inputs_and_surprise_is_theirs(language):
    batch = MarkovTask(language, context=8).batch(5, sequences=3, seed=0)
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    before, last, following = batch.inputs[:, :-1], batch.inputs[:, 1:], batch.targets[:, 1:]
    surprise = -np.log(language.transition[before, last, following])
    assert batch.surprise is not None
    np.testing.assert_allclose(batch.surprise, surprise)
    assert batch.mean_surprise == pytest.approx(surprise.mean())


def test_steps_in_order_draw_a_block_once_and_many_streams_stay_bounded():
    drawn = []

    def draw(seed: int, block: int, examples: int) -> np.ndarray:
        drawn.append((seed, block))
        return np.full(examples, 1000 * seed + block)

    blocks = Blocks(draw, lambda data, rows: Batch(data[rows], data[rows]))
    for step in range(2 * STEPS_PER_BLOCK):
        for seed in (0, 1):
            batch = blocks.batch(step, sequences=2, seed=seed)
            assert set(batch.inputs) == {1000 * seed + step // STEPS_PER_BLOCK}
    assert drawn == [(0, 0), (1, 0), (0, 1), (1, 1)]
    for seed in range(_STREAMS_KEPT + 10):
        blocks.batch(0, sequences=2, seed=seed)
    assert len(blocks._last) == _STREAMS_KEPT


def test_surprise_may_be_unknown():
    assert math.isnan(Batch(np.zeros((2, 3)), np.zeros((2, 3))).mean_surprise)


def test_any_object_with_the_three_members_is_a_task():
    class Mine:
        entropy = math.nan

        def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
            return Batch(np.full((sequences, 4), step), np.full((sequences, 4), seed))

        def held_out(self, sequences: int) -> Batch:
            return self.batch(-1, sequences=sequences, seed=0)

    assert isinstance(Mine(), Task)
    assert not isinstance(object(), Task)
    assert isinstance(build_task(load_spec("smoke")), Task)
