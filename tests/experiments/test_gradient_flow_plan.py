"""Which networks the gradient_flow experiment plans, and what it refuses."""

from pathlib import Path

import pytest

from experiments.gradient_flow import config as settings
from experiments.gradient_flow.main import check_length
from experiments.gradient_flow.plan import Program, Run, activations_of, loss_steps, measured_steps, plan
from rnnjax.data import load_corpus


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cells", "", "--config.cells is empty: expected names separated by commas"),
        ("activations", "tahn", "unknown activation 'tahn': did you mean 'tanh'? valid names: "),
        ("depths", "1,0", "--config.depths is '1,0': expected positive whole numbers separated by commas"),
        ("sequence_lengths", "x", "--config.sequence_lengths is 'x': expected positive whole numbers"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("hidden_size", -3, "--config.hidden_size is -3: expected at least 1"),
        ("train_steps", -1, "--config.train_steps is -1: expected 0 or more"),
        ("measure_every", -1, "--config.measure_every is -1: expected 0 or more"),
        ("loss", "first", "--config.loss is 'first': expected all, or last and steps from 1 to 20"),
        ("loss", "21,last", "--config.loss is '21,last': expected all, or last and steps from 1 to 20"),
        ("loss", "last,all", "--config.loss is 'last,all': expected all, or last and steps from 1 to 20"),
        ("initializations", "gian:2", "unknown initialization 'gian': did you mean 'gain'? valid names: chrono, "),
        ("initializations", "gain", "initialization is 'gain': expected a number, as in gain:2"),
        ("initializations", "glorot:2", "initialization is 'glorot:2': expected glorot alone"),
        ("initializations", "gain:x", "initialization 'gain:x': could not convert string to float: 'x'"),
        ("initializations", "radius:0", "initialization 'radius:0': radius is 0: expected a positive number"),
        ("initializations", "gain:0", "initialization 'gain:0': gain is 0: expected a positive number"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    config = settings.get_config("quick")
    config[field] = value
    with pytest.raises(ValueError, match=r"expected|unknown|could not") as raised:
        plan(config)
    assert message in str(raised.value)


def test_the_plan_has_every_combination_once_and_activations_for_elman_only() -> None:
    config = settings.get_config("quick")
    config.cells, config.activations, config.depths, config.seeds = "elman,lstm,elman", "tanh,relu", "1,3", 2
    runs = plan(config)
    assert len(runs) == len(set(runs)) == 2 * 2 * 2 + 2 * 2
    assert {run.activation for run in runs if run.program.cell == "lstm"} == {"-"}
    assert Run(Program("elman", 3, 20), "relu", "default", 1) in runs


def test_initializations_are_planned_for_the_cells_that_take_them() -> None:
    config = settings.get_config("quick")
    config.cells, config.activations, config.depths, config.seeds = "elman,gru,lstm,indrnn", "tanh", "1", 1
    config.initializations = "default,identity,gain:0.9,forget_bias:3,chrono:50"
    taken: dict[str, set[str]] = {}
    for run in plan(config):
        taken.setdefault(run.program.cell, set()).add(run.initialization)
    recurrent, gates = {"default", "identity", "gain:0.9"}, {"forget_bias:3", "chrono:50"}
    # The recurrent weights of indrnn are a vector: no matrix, and no gates.
    assert taken == {"elman": recurrent, "gru": recurrent | gates, "lstm": recurrent | gates, "indrnn": {"default"}}


def test_names_of_runs_are_different_and_names_of_folders() -> None:
    config = settings.get_config("initializations")
    names = [run.name for run in plan(config)]
    assert len(names) == len(set(names))
    assert not set("".join(names)) & set('<>:"/\\|?*')


@pytest.mark.parametrize("variant", ["default", "initializations", "gates", "training", "positions", "long", "quick"])
def test_every_variant_can_be_planned(variant: str) -> None:
    config = settings.get_config(variant)
    for run in plan(config):
        assert max(loss_steps(config, run.program.sequence_length)) == run.program.sequence_length
    steps = measured_steps(config)
    assert steps[0] == 0
    assert steps[-1] == config.train_steps


def test_a_program_has_all_activations_of_the_config_in_one_order_whatever_is_still_to_be_done() -> None:
    config = settings.get_config("quick")
    config.activations = "tanh,relu,sigmoid"
    assert activations_of(config, "elman") == ["relu", "sigmoid", "tanh"]
    assert activations_of(config, "lstm") == ["-"]


def test_a_text_too_short_for_the_held_out_tenth_is_told_in_full(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("xy" * 100)
    with pytest.raises(ValueError, match=r"short.txt has 200 characters, .* windows of 20 .* need 210: give a longer"):
        check_length(load_corpus(str(tmp_path / "short.txt")), 20)
