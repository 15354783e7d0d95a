"""The code of the how-to pages runs as written, and what comes out agrees with something computed in another way."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "howto"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")

Names = dict[str, Any]


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def ran(page: str, *, first: int = 0, names: Names | None = None) -> Names:
    """The names that a page's code leaves, its blocks carried out in order as a user's session would."""
    names = {} if names is None else names
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks(FOLDER / f"{page}.md")[first:]:
            exec(block, names)
    return names


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def assert_close(received: Any, expected: Any, tolerance: float = 1e-5) -> None:
    assert jax.tree.structure(received) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(received), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def gradient_at(cell: rnnjax.Cell, params: Any, inputs: jax.Array, step: int, loss: Callable[[Any], Any]) -> Any:
    """dL/ds_t by its definition: the state after that step is the start of the others; L is of the last output."""
    state, _ = rnnjax.unroll(cell, params, inputs[: step + 1])
    return jax.grad(lambda state: loss(rnnjax.unroll(cell, params, inputs[step + 1 :], state)[1][-1]))(state)


# The pages


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short_and_listed(page: str) -> None:
    text, index = (FOLDER / f"{page}.md").read_text(encoding="utf-8"), (FOLDER / "index.md").read_text(encoding="utf-8")
    lines = [line for block in blocks(FOLDER / f"{page}.md") for line in block.splitlines() if line.strip()]
    assert 10 <= len(lines) <= 40
    assert re.search(rf"^\| .*\]\({page}\.md\) \|$", index, re.M)
    assert re.search(rf"^{page}$", index, re.M)
    assert re.findall(r"^## (What comes out|Traps)$", text, re.M) == ["What comes out", "Traps"]


@pytest.mark.slow
def test_batch_first_is_time_first_transposed() -> None:
    names = ran("batch_first")
    cell, params, inputs = names["cell"], names["params"], names["inputs"]
    state, outputs = rnnjax.unroll(cell, params, jnp.moveaxis(inputs, 1, 0))
    assert_close(names["outputs"], jnp.moveaxis(outputs, 0, 1))
    assert_close(names["final_state"], state)
    assert names["flow"].examples[1].hidden.shape == (50, 16)
    _, otherwise = rnnjax.unroll(cell, params, inputs)  # the first trap
    assert otherwise.shape == names["outputs"].shape
    assert not np.allclose(otherwise, names["outputs"], atol=0.1)


@pytest.mark.slow
def test_padded_and_packed_sequences_are_what_each_is_alone() -> None:
    names = ran("lengths")
    cell, params, lengths = names["cell"], names["params"], names["lengths"]

    def alone(params: Any) -> list[tuple[Any, jax.Array]]:
        return [rnnjax.unroll(cell, params, jnp.asarray(sequence)) for sequence in names["sequences"]]

    for example, (state, outputs) in enumerate(alone(params)):
        assert_close(names["outputs"][: lengths[example], example], outputs)
        assert_close(jax.tree.map(lambda leaf, at=example: leaf[at], names["final_state"]), state)
        assert_close(names["mean"][example], outputs.mean(axis=0))
        assert_close(names["documents"][example], outputs)
    at_the_end = names["outputs"][lengths - 1, np.arange(3)]  # as a trap says
    assert_close(at_the_end, names["final_state"].hidden)

    def loss(params: Any) -> jax.Array:
        outputs = jnp.concatenate([outputs for _, outputs in alone(params)])
        return jnp.mean(jnp.sum((outputs - 1.0) ** 2, axis=-1))

    assert_close(names["gradient"], jax.grad(loss)(params))


@pytest.mark.slow
def test_flax_modules_have_the_outputs_of_unroll_and_the_gradients_of_the_definition() -> None:
    pytest.importorskip("flax", reason="flax, which the page is about, is not installed: rnnjax[flax]")
    from flax.serialization import from_state_dict

    names = ran("flax")
    cell, variables, tokens = names["cell"], names["variables"]["params"], names["tokens"]
    params = from_state_dict(jax.eval_shape(lambda: cell.init(jax.random.key(0), 16)), variables["RNN_0"]["cell"])
    vectors = variables["Embed_0"]["embedding"][tokens[0] % 100]  # of the first sentence, which is whole

    def head(hidden: jax.Array) -> jax.Array:
        return hidden @ variables["Dense_0"]["kernel"] + variables["Dense_0"]["bias"]

    logits = names["model"].apply({"params": variables}, tokens, names["lengths"])
    with jax.numpy_rank_promotion("allow"):
        assert_close(logits[0], head(rnnjax.unroll(cell, params, vectors)[1]))
        expected = gradient_at(cell, params, vectors, 10, lambda last: jnp.sum(head(last) ** 2))
    # Of the upper layer: what a lower one sends up at the same step is in its adjoint, but not in a joint state's.
    assert_close(jax.tree.map(lambda leaf: leaf[10, 0], names["adjoints"][1]), expected[1])

    tagger = names["tagger"]
    params = jax.tree.map(lambda p: p[...], tagger.rnn.params, is_leaf=lambda p: hasattr(p, "get_value"))
    outputs = rnnjax.unroll(cell, params, tagger.embed(tokens[0]))[1]
    assert_close(names["logits"][0], tagger.head(outputs))


@pytest.mark.slow
def test_pytorch_has_the_same_outputs_there_and_back() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch, which the page is about, is not installed: rnnjax[bench]")
    names = ran("pytorch")
    np.testing.assert_allclose(names["outputs"], names["theirs"].numpy(), atol=1e-5)
    again = torch.nn.GRU(8, 32, num_layers=2)
    again.load_state_dict(
        {name: torch.from_numpy(weight) for name, weight in names["to_torch"](names["params"]).items()}
    )
    with torch.no_grad():
        outputs, _ = again(torch.from_numpy(names["inputs"]))
    np.testing.assert_allclose(outputs.numpy(), names["outputs"], atol=1e-5)

    both = torch.nn.LSTM(8, 4, bidirectional=True)
    cell = rnnjax.stack(rnnjax.bidirectional(rnnjax.lstm(4), rnnjax.lstm(4)))
    _, outputs = rnnjax.unroll(cell, names["from_torch"](both.state_dict(), "lstm"), names["inputs"])
    with torch.no_grad():
        expected, _ = both(torch.from_numpy(names["inputs"]))
    np.testing.assert_allclose(outputs, expected.numpy(), atol=1e-5)


def test_what_is_restored_is_what_was_saved() -> None:
    ocp = pytest.importorskip("orbax.checkpoint", reason="orbax, which the page is about, is not installed")
    names: Names = {}
    save, load = blocks(FOLDER / "saving.md")
    exec(save, names)
    saved = names.pop("training")
    exec(load, names)
    assert jax.tree.structure(names["training"]) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, names["training"], saved)
    with ocp.StandardCheckpointer() as checkpointer:  # two of the traps
        assert isinstance(checkpointer.restore(names["folder"]), (list, dict))
        with pytest.raises(ValueError, match="already exists"):
            checkpointer.save(names["folder"], saved)


@pytest.mark.slow
def test_a_step_that_logs_is_the_step_that_does_not_and_its_norms_are_the_definitions() -> None:
    names = ran("logging")
    records, cell, params, inputs = (names[name] for name in ("records", "cell", "params", "inputs"))
    assert [record["step"] for record in records] == [0, 100, 200, 300]
    assert records[-1]["loss"] < records[0]["loss"] / 4
    targets = inputs[-4, :, 0]
    (plain, _, nothing), (logged, _, flow) = (names["step"](params, inputs, targets, log=log) for log in (False, True))
    assert nothing is None
    assert_close(logged, plain, 1e-6)

    def loss(last: jax.Array) -> jax.Array:
        return jnp.mean((last @ params["readout"] - targets) ** 2)

    expected = gradient_at(cell, params["cell"], inputs, 12, loss)
    assert_close(flow.state.hidden[12], jnp.linalg.norm(expected.hidden))
    assert_close(flow.state.cell[12], jnp.linalg.norm(expected.cell))


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs two devices")
def test_several_devices_have_the_gradient_of_one() -> None:
    names = ran("devices")
    expected = names["gradient"](names["params"], names["inputs"])
    assert len(names["mesh"].devices) >= 2
    assert_close(names["by_jit"], expected, 1e-4)
    assert_close(names["by_shard_map"], expected, 1e-4)


def test_padded_to_a_few_lengths_gradients_are_those_of_the_sequences_and_shapes_are_few() -> None:
    names = ran("compilations", first=1, names={"jax": jax})
    assert len(names["compiled"]) == len(set(names["compiled"])) == 3
    cell = rnnjax.gru(32)

    def loss(params: Any) -> jax.Array:
        finals = [rnnjax.unroll(cell, params, jnp.asarray(x, jnp.float32))[0].hidden for x in names["batch"]]
        return jnp.mean(jnp.stack(finals) ** 2)

    assert_close(names["gradients"], jax.grad(loss)(names["params"]))


@pytest.mark.slow
def test_a_second_process_finds_what_the_first_has_compiled(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(FOLDER / "compilations.md")), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_LOG_COMPILES": "1"}

    def kept() -> set[str]:
        subprocess.run([sys.executable, script.name], cwd=tmp_path, env=environment, check=True, capture_output=True)
        return {path.name for path in (tmp_path / "compiled").glob("*-cache")}

    first = kept()
    assert any("gradient" in name for name in first)
    assert kept() == first


def test_several_steps_in_one_call_are_those_steps_one_after_the_other() -> None:
    names = ran("several_steps")
    params, step = names["cell"].init(jax.random.key(0), 1), jax.jit(names["step"])
    training, random = (params, names["optimizer"].init(params)), np.random.default_rng(0)
    for _ in range(3):
        inputs = random.normal(size=(10, 30, 16, 1)).astype(np.float32)
        values = []
        for each in inputs:
            with jax.numpy_dtype_promotion("standard"):  # optax mixes them
                training, value = step(training, (each, each.mean(axis=0)))
            values.append(value)
    assert_close(names["training"], training)
    assert_close(names["values"], jnp.stack(values))


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the option is that of a CPU")
def test_the_loops_over_one_sequence_are_one_function_each_and_the_gradient_is_the_same(tmp_path: Path) -> None:
    shown = """
print(gradient.lower(params).compile().as_text().count("xla_cpu_small_call"))
print(" ".join(str(float(leaf.sum())) for leaf in jax.tree.leaves(found)))
"""
    (page,) = blocks(FOLDER / "one_sequence.md")
    without = re.sub(r"^os\.environ.*$", "", page, flags=re.M)
    calls, sums = [], []
    for name, code in (("page", page), ("without", without)):
        script = tmp_path / f"{name}.py"
        script.write_text(code + shown, encoding="utf-8")
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        words = [sys.executable, script.name]
        done = subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        first, second = done.stdout.splitlines()
        calls.append(int(first))
        sums.append([float(each) for each in second.split()])
    assert calls[0] >= 2  # forward and back
    assert calls[1] == (0 if jax.__version_info__ < (0, 12) else calls[0])
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-4)


@pytest.mark.slow
def test_a_callback_sees_every_state_once_and_in_order_and_changes_no_number(
    capfd: pytest.CaptureFixture[str],
) -> None:
    names = ran("callbacks")
    jax.effects_barrier()
    cell, params, inputs, seen, watched = (names[name] for name in ("cell", "params", "inputs", "seen", "watched"))
    flow = rnnjax.gradient_flow(cell, params, inputs, lambda outputs: (outputs[-1] ** 2).sum())
    assert_close(names["flow"], flow)
    assert_close(jnp.stack(seen), names["states"].cell)
    assert_close(names["outputs"], rnnjax.unroll(cell, params, inputs)[1])
    shown = re.findall(r"^step (\d+): norm of the memory ([\d.]+)$", capfd.readouterr().out, re.M)
    assert [int(step) for step, _ in shown] == [0, 10]
    norms = jnp.linalg.norm(names["states"].cell, axis=(1, 2))
    np.testing.assert_allclose([float(norm) for _, norm in shown], norms[jnp.array([0, 10])], atol=1e-3)

    # The traps: a whole runs step by step, and the steps of some cells cannot be watched.
    whole, states = rnnjax.stack(cell, cell), []
    params = whole.init(jax.random.key(0), 8)
    found = rnnjax.unroll(watched(whole, states.append), params, inputs)[1]
    jax.effects_barrier()
    assert_close(found, rnnjax.unroll(whole, params, inputs)[1])
    assert len(states) == len(inputs)
    affine, both = rnnjax.min_gru(32), rnnjax.bidirectional(cell, cell)
    with pytest.raises(ValueError, match="not affine"):
        rnnjax.unroll(watched(affine, print), affine.init(jax.random.key(0), 8), inputs, method="parallel")
    with pytest.raises(TypeError, match="a bidirectional cell received one step"):
        rnnjax.unroll(watched(both, print), both.init(jax.random.key(0), 8), inputs)


@pytest.mark.parametrize("allowed", [True, False])
def test_an_io_callback_may_stand_in_a_cell_and_not_in_a_loop_that_is_differentiated(allowed: bool) -> None:
    from jax.experimental import io_callback

    cell, seen = rnnjax.gru(3), []
    params, inputs = cell.init(jax.random.key(0), 2), jnp.ones((5, 1, 2))

    def advance(params: Any, state: Any, drive: Any) -> Any:
        io_callback(seen.append, None, state.hidden, ordered=True)
        return cell.advance(params, state, drive)

    watched = cell._replace(advance=advance)

    def in_a_loop(params: Any) -> jax.Array:
        state = cell.initial_state(params, (1,))
        return jnp.sum(jax.lax.scan(partial(watched.step, params), state, inputs)[1])

    if allowed:
        jax.grad(lambda params: jnp.sum(rnnjax.unroll(watched, params, inputs)[1]))(params)
        jax.effects_barrier()
        assert len(seen) == 5
    else:
        with pytest.raises(ValueError, match="IO callbacks do not support JVP"):
            jax.grad(in_a_loop)(params)
