"""The training of gradient_flow: how it goes on from a checkpoint, and what text is too short for it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.gradient_flow import config as settings
from experiments.gradient_flow.main import check_length, train
from experiments.gradient_flow.measurement import Measurement
from experiments.gradient_flow.plan import measured_steps, plan
from rnnjax.data import Corpus, load_corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(max_characters=settings.get_config().max_characters)


@pytest.mark.parametrize("stopped_at", [1, 3, 4, 5, 8])
def test_training_cut_short_goes_on_to_the_same_history_and_measurements(
    corpus: Corpus, tmp_path: Path, stopped_at: int
) -> None:
    """With a model that is one number, so that everything can be known."""
    config = settings.get_config("quick")
    config.train_steps, config.measure_every, config.checkpoint_every = 8, 3, 2
    planned = plan(config)[0]

    def trained(folder: str, stop: int) -> Any:
        seen: list[np.ndarray] = []

        def step(state: jax.Array, tokens: np.ndarray) -> tuple[jax.Array, jax.Array]:
            seen.append(tokens)
            if len(seen) == stop:
                raise InterruptedError
            return state + int(tokens.sum()), jnp.stack([state / 2, state / 3, state / 4])

        def measure(state: jax.Array) -> Measurement:
            flow = rnnjax.GradientFlow(jnp.stack([state, state + 1]), state, state, state)
            return Measurement(flow, {"tanh": state + 2}, (), None)

        return train(step, measure, jnp.float32(1), planned, config, corpus, tmp_path / folder, lambda _: None)

    history, measurements = trained("whole", 0)
    with pytest.raises(InterruptedError):
        trained("cut", stopped_at)
    again, measured_again = trained("cut", 0)
    np.testing.assert_array_equal(history, again)
    jax.tree.map(np.testing.assert_array_equal, measurements, measured_again)
    assert measured_steps(config) == [0, 3, 6, 8]
    states = [1, *(2 * history[[3, 6], 0])]
    np.testing.assert_allclose([m.flow.state for m in measurements[:3]], states, rtol=1e-6)
    assert len({float(m.flow.state) for m in measurements}) == 4


def test_a_text_too_short_for_the_held_out_tenth_is_told_in_full(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("x" * 200)
    with pytest.raises(ValueError, match=r"short.txt has 200 characters, .* windows of 20 .* need 210: give a longer"):
        check_length(load_corpus(str(tmp_path / "short.txt")), 20)
