"""The music experiment: likelihoods by hand, what a network hears, pieces, what a run leaves, what is refused."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from experiments.music import config as settings
from experiments.music import main as music
from experiments.music import midi, model, outputs, reach, report, teacher
from experiments.music.data import Batch, Rows, batch_of, roll, stock_of
from experiments.music.main import plan
from experiments.music.model import Model, Network, Noise, make_model
from experiments.music.trained import Trained, chosen, load
from tests.answers import answered
from tests.experiments.logs import records_in
from tests.experiments.runs import check_drawn, check_page
from tests.experiments.test_music_data import made, made_file
from tests.test_errors import check_refused

pytest.importorskip("mido", reason="not installed: rnnjax[music]")

MUSIC = [tuple(map(tuple, each)) for each in made(3, 3, (4, 8))]


def model_of(name: str, intervals: int = 2) -> Model:
    config = settings.get_config()
    config.hidden_size, config.intervals = 5, intervals
    return make_model(name, config, 4)


def network_of(used: Model) -> Network:
    with jax.enable_x64(False):
        network = jax.jit(lambda key: model.init(used, key))(jax.random.key(1))
    generator = np.random.default_rng(2)  # weights of intervals and biases that count for something
    return jax.tree.map(lambda leaf: leaf + 0.2 * generator.normal(size=leaf.shape).astype(np.float32), network)


def states_by_hand(params: Any, notes: np.ndarray) -> list[np.ndarray]:
    hidden, found = np.zeros(5), []
    for x in notes:
        hidden = np.tanh(x @ params.kernel + hidden @ params.recurrent_kernel + params.bias)
        found.append(hidden)
    return found


def dense(params: Any, inputs: np.ndarray) -> np.ndarray:
    return inputs @ params["params"]["kernel"] + params["params"].get("bias", 0)


def intervals_by_hand(params: Any, inputs: np.ndarray, notes: np.ndarray) -> np.ndarray:
    weights, found = dense(params, inputs), np.zeros(len(notes))
    reach = len(weights) // 2
    for key, i in itertools.product(range(len(notes)), range(-reach, reach + 1)):
        if 0 <= key + i < len(notes):
            found[key] += weights[i + reach] * notes[key + i]
    return found


def nats_by_hand(name: str, network: Any, frames: Any) -> list[float]:
    """Of each frame of a chorale, from the first one on, written out for Elman cells."""
    plain, notes = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network), roll(frames).astype(np.float64)
    losses = []
    for t, state in enumerate(states_by_hand(plain.recurrent, notes[:-1])):
        before, now, params = notes[t], notes[t + 1], plain.output
        if name == "elman":
            logits = dense(params.keys, state) + intervals_by_hand(params.intervals, state, before)
            p = 1 / (1 + np.exp(-logits))
            losses.append(-sum(np.log(p[key] if now[key] else 1 - p[key]) for key in range(88)))
            continue
        loss, so_far, last = 0.0, np.zeros(88), -1
        for told in [*np.flatnonzero(now), 88]:
            hidden = np.tanh(dense(params.state, state) + dense(params.notes, so_far))
            logits = dense(params.keys, hidden)
            logits[:88] += intervals_by_hand(params.intervals, state, before)
            logits[:88] += intervals_by_hand(params.chord, hidden, so_far)
            allowed = [*range(last + 1, 88), 88]
            loss -= logits[told] - np.log(np.exp(logits[allowed]).sum())
            if told < 88:
                so_far[told], last = 1, int(told)
        losses.append(loss)
    return losses


@pytest.mark.parametrize("name", ["elman", "elman:joint"])
def test_nats_of_a_padded_batch_are_those_of_each_chorale_alone_written_out(name: str) -> None:
    used, batch = model_of(name), batch_of(MUSIC)
    network = network_of(used)
    found = jax.jit(lambda network: model.nats(used, network, batch.notes, mask=batch.mask[:-1]))(network)
    by_hand = [nats_by_hand(name, network, chorale) for chorale in MUSIC]
    for place, losses in enumerate(by_hand):
        np.testing.assert_allclose(found[: len(losses), place], losses, rtol=2e-5)
    counted = [loss for losses in by_hand for loss in losses[1:]]
    of_batch = jax.jit(lambda network: model.mean_nats(used, network, batch))(network)
    np.testing.assert_allclose(of_batch, np.mean(counted), rtol=2e-5)
    assert jax.jit(lambda network: music.change_with_padding(used, network, batch))(network) < 1e-4


def test_in_all_keys_logits_are_means_over_readings_that_are_moved_back() -> None:
    used, batch = model_of("elman"), batch_of(MUSIC)
    network = network_of(used)
    found = jax.jit(lambda moves: model.mean_nats_in_keys(used, network, batch, moves))(jnp.array([-1, 0, 2]))
    losses: list[float] = []
    for chorale in MUSIC:
        p, now = probabilities_by_hand(network, chorale, (-1, 0, 2)), roll(chorale)[1:]
        losses += list(-np.log(np.where(now > 0.5, p, 1 - p)).sum(axis=1)[1:])
    np.testing.assert_allclose(found, np.mean(losses), rtol=2e-5)
    with pytest.raises(ValueError, match="a joint output has no logits of single keys: expected sigmoids"):
        model.mean_nats_in_keys(model_of("elman:joint"), network, batch, jnp.array([0]))


def probabilities_by_hand(network: Any, chorale: Any, moves: tuple[int, ...]) -> np.ndarray:
    """Those of a network of Elman cells that has read a chorale in several keys."""
    plain, read = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network), []
    for move in moves:
        notes = np.roll(roll(chorale).astype(np.float64), move, axis=1)
        for t, state in enumerate(states_by_hand(plain.recurrent, notes[:-1])):
            logits = dense(plain.output.keys, state)
            logits += intervals_by_hand(plain.output.intervals, state, notes[t])
            read.append(np.roll(logits, -move))
    return 1 / (1 + np.exp(-np.mean(np.reshape(read, (len(moves), -1, 88)), axis=0)))


def test_a_teacher_mixes_its_probabilities_after_all_keys_into_what_is_taught() -> None:
    used = model_of("elman")
    network = network_of(used)
    config = settings.get_config()
    config.down, config.up, config.teacher_share = 1, 2, 0.3
    stock = teacher.taught(stock_of(MUSIC, 1, 2), Trained(used, network, "elman-seed0"), MUSIC, config)
    expected = []
    for chorale in MUSIC:
        p = probabilities_by_hand(network, chorale, (-1, 0, 1, 2))
        expected += [np.zeros((1, 88)), 0.7 * roll(chorale)[1:] + 0.3 * p]
    np.testing.assert_allclose(stock.targets, np.concatenate(expected), rtol=2e-5)
    np.testing.assert_array_equal(stock.notes, stock_of(MUSIC, 1, 2).notes)

    def loss(targets: jax.Array) -> jax.Array:
        rows = Rows(stock.notes[:, None], targets[:, None], *(jnp.arange(len(targets))[:, None] == n for n in (0, 4)))
        return model.training_loss(used, Noise(), network, rows, jax.random.key(0))

    # Cross-entropy is that of the notes and that of the teacher, each with its weight.
    both = 0.7 * loss(stock.notes) + loss(stock.targets - 0.7 * stock.notes) - 0.7 * loss(0 * stock.notes)
    np.testing.assert_allclose(loss(stock.targets), both, rtol=1e-5)


def test_rows_of_chorales_that_follow_each_other_are_each_read_alone() -> None:
    used = model_of("elman")
    network, rolls = network_of(used), [roll(each) for each in MUSIC]
    notes = jnp.asarray(np.concatenate(rolls))[:, None]
    reset = jnp.asarray(np.concatenate([np.arange(len(each)) == 0 for each in rolls]))[:, None]
    rows = Rows(notes, notes, reset, jnp.concatenate([~reset[1:], jnp.zeros((1, 1), bool)]))

    def loss(noise: Noise) -> float:
        key = jax.random.key(3)
        return float(jax.jit(lambda network: model.training_loss(used, noise, network, rows, key))(network))

    by_hand = [each for chorale in MUSIC for each in nats_by_hand("elman", network, chorale)]
    np.testing.assert_allclose(loss(Noise()), np.mean(by_hand), rtol=2e-5)
    for each in Noise._fields:
        assert abs(loss(Noise(**{each: 0.4})) - np.mean(by_hand)) > 1e-4


@pytest.mark.parametrize("name", ["sigmoids", "joint"])
def test_probabilities_of_all_frames_of_a_small_keyboard_have_the_sum_1(name: str) -> None:
    output = outputs.make_output(name, 2, 5)
    params = jax.tree.map(lambda leaf: 3 * leaf + 0.3, output.init(jax.random.key(0), 4, 5))
    frames = jnp.array(list(itertools.product((0.0, 1.0), repeat=5)))
    states = jax.random.normal(jax.random.key(1), (2, 1, 4))
    before = jnp.array([[[1.0, 0, 0, 1, 0]], [[0.0, 0, 0, 0, 1]]])
    states, before = (jnp.broadcast_to(each, (2, 32, each.shape[-1])) for each in (states, before))
    nats = jax.jit(output.nats)(params, states, before, jnp.broadcast_to(frames, (2, 32, 5)))
    np.testing.assert_allclose(np.exp(-np.asarray(nats, np.float64)).sum(axis=1), 1, rtol=1e-5)
    assert np.ptp(np.asarray(nats)) > 1
    # What is drawn has these probabilities: of 4,000 frames, three standard errors and a bit.
    draw = jax.jit(lambda key: output.draw(params, states[0, 0], before[0, 0], key, 1.0))
    drawn = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(2), 4000)))
    shares = np.bincount((drawn @ (1 << np.arange(5)[::-1])).astype(int), minlength=32) / 4000
    p = np.exp(-np.asarray(nats[0], np.float64))
    assert (np.abs(shares - p) < 4 * np.sqrt(p / 4000) + 1e-3).all()


def test_the_cold_draw_the_likeliest_frame() -> None:
    output = outputs.make_output("sigmoids", 1, 5)
    params = output.init(jax.random.key(0), 4, 5)
    state, before = jnp.full(4, 2.0), jnp.array([1.0, 0, 0, 1, 0])
    likeliest = outputs.logits_of_sigmoids(params, state, before) > 0
    np.testing.assert_array_equal(output.draw(params, state, before, jax.random.key(1), 1e-6) > 0.5, likeliest)


def test_by_intervals_a_network_without_weights_of_keys_says_the_same_in_any_key() -> None:
    intervals = outputs._init_intervals(3, jax.random.key(0), jnp.zeros(4))
    state, notes = jnp.arange(4.0), jnp.zeros(88).at[jnp.array([30, 37, 40])].set(1)
    found = [outputs.by_intervals(intervals, state, jnp.roll(notes, shift)) for shift in (0, 5)]
    np.testing.assert_allclose(jnp.roll(found[0], 5), found[1], rtol=1e-6)
    assert not np.asarray(found[0])[44:].any()


# What is heard


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elman", "gru:joint"])
def test_gradients_by_lag_are_differences_of_the_last_frames_nats(name: str, x64: None) -> None:
    used = model_of(name)
    network = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), network_of(used))
    notes = reach.openings(MUSIC, 3).astype(jnp.float64)
    assert notes.shape == (5, len([each for each in MUSIC if len(each) > 3]), 88)
    found = jax.jit(lambda network: reach.flow(used, network, notes))(network)
    assert found.chorales.shape == (4, notes.shape[1])

    @jax.jit
    def last(perturbation: Any) -> Any:
        def unroll(*arguments: Any, **options: Any) -> Any:
            return rnnjax.unroll(*arguments, **options, perturbation=perturbation)

        return model.nats(used, network, notes, unroll)[-1]

    zeros = jax.tree.map(
        lambda leaf: jnp.zeros((4, *leaf.shape)), used.cell.initial_state(network.recurrent, (notes.shape[1],))
    )
    for t, chorale in ((0, 0), (2, 1), (3, 0)):
        squares = 0.0
        for unit in range(5):
            ends = [
                last(jax.tree.map(lambda leaf: leaf.at[t, chorale, unit].set(sign * 1e-6), zeros))[chorale]  # noqa: B023
                for sign in (1, -1)
            ]
            squares += ((ends[0] - ends[1]) / 2e-6) ** 2
        np.testing.assert_allclose(found.chorales[t, chorale], np.sqrt(squares), rtol=1e-5)
    np.testing.assert_allclose(found.typical, np.exp(np.log(found.chorales).mean(axis=1)), rtol=1e-6)


def test_nats_by_context_are_those_of_windows_read_from_a_fresh_state() -> None:
    used = model_of("elman")
    network, batch = network_of(used), batch_of(MUSIC)
    found = jax.jit(lambda network: reach.nats_by_context(used, network, batch, (1, 3)))(network)
    for context in (1, 3):
        losses = []
        for chorale in MUSIC:
            notes = roll(chorale)
            for end in range(3, len(notes) - 1, 5):
                window = Batch(
                    jnp.asarray(notes[end + 1 - context : end + 2])[:, None], jnp.ones((context + 1, 1), bool)
                )
                losses.append(float(model.nats(used, network, window.notes)[-1, 0]))
        np.testing.assert_allclose(found[context], np.mean(losses), rtol=1e-5)


# A run


QUICK = ["--variant=quick"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_file(tmp_path_factory.mktemp("music") / "made.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, own: Path) -> Path:
    """A finished run of the quick variant on a file."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    flags = [*QUICK, f"--config.file={own}", f"--workdir={workdir}"]
    ((status, printed),) = answered([{"module": "music", "flags": flags}])
    assert status == 0, printed
    return workdir


def test_a_run_leaves_records_figures_pieces_and_a_summary(finished: Path) -> None:
    check_drawn(finished, [make.__name__ for make in report.FIGURES])
    check_page(finished, "music")
    summary = (finished / "summary.md").read_text()
    assert "made.json: 9 chorales" in summary
    assert "That a bar has four of them is assumed" in summary
    assert "NaN" not in (finished / "metrics.jsonl").read_text()
    records = records_in(finished)
    assert max(record["change"] for record in records if record["kind"] == "padding") < 1e-3
    pieces = [record for record in records if record["kind"] == "piece" and record["seed"] == 0]
    assert len(pieces) == 4
    for record in pieces:
        frames = tuple(map(tuple, record["frames"]))
        assert len(frames) == 16 + record["primer"]
        if any(frames):
            first = next(place for place, frame in enumerate(frames) if frame)
            found = midi.read(finished / "figures" / f"{record['run']}-after-{record['after']}.mid")
            assert found == frames[first : first + len(found)]


def test_what_is_tested_are_the_weights_that_were_best_in_the_validation_part(finished: Path) -> None:
    records = records_in(finished)
    for end in (record for record in records if record["kind"] == "result" and record["params"]):
        evaluations = {
            record["step"]: record["valid"]
            for record in records
            if record["kind"] == "evaluation" and record["run"] == end["run"]
        }
        assert end["step"] == min(evaluations, key=lambda step: evaluations[step])
        np.testing.assert_allclose(end["valid"], evaluations[end["step"]], rtol=1e-5)
        assert end["test"] < evaluations[0]  # it has learned something


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(finished: Path, own: Path, tmp_path: Path) -> None:
    one = ["--config.networks=elman", "--config.seeds=1"]
    flags = [*QUICK, f"--config.file={own}", f"--workdir={tmp_path / 'run'}", *one]
    call = {"module": "music", "flags": flags, "drawn": False}
    killed, done = answered([call | {"fault": "killed", "at": ("experiments.common.checkpoint", "save", 3)}, call])
    assert killed[0] != 0
    assert done[0] == 0, done[1]
    assert records_in(tmp_path / "run") == [each for each in records_in(finished) if each["run"] == "elman-seed0"]


def test_a_piece_goes_on_from_a_primer_and_is_what_the_network_draws(finished: Path, tmp_path: Path) -> None:
    primer = ((60, 64, 67), (59, 65), (60, 64))
    midi.write(primer, tmp_path / "primer.mid")
    given = [f"--workdir={finished}", f"--primer={tmp_path / 'primer.mid'}", "--bars=2", "--seed=7"]
    calls = [
        [*given, f"--output={tmp_path / 'piece.mid'}"],
        [*given, f"--output={tmp_path / 'piece.mid'}"],
        [
            *(f"--workdir={finished}", "--run=elman-seed1", "--bars=1", "--temperature=0.5", "--overwrite"),
            f"--output={tmp_path / 'deep' / 'other.mid'}",
        ],
    ]
    found = answered([{"module": "music.compose", "flags": flags} for flags in calls])
    assert [status for status, _ in found] == [0, 1, 0], found
    assert "already: give another --output, or --overwrite" in found[1][1]
    piece = midi.read(tmp_path / "piece.mid")
    assert piece[:3] == primer
    assert (tmp_path / "piece.png").stat().st_size > 5_000
    assert (tmp_path / "deep" / "other.png").exists()
    folder = chosen(str(finished), "")
    assert folder.parent.name == "gru-joint-seed0"
    known = load(folder)
    notes = batch_of([primer])
    drawn = jax.jit(lambda key: model.compose(known.model, known.network, notes, key, 8, 1.0))(jax.random.key(7))
    expected = (*primer, *(tuple(int(key) + 21 for key in np.flatnonzero(frame)) for frame in np.asarray(drawn)[:, 0]))
    assert piece == expected[: len(piece)]
    assert not any(expected[len(piece) :])


def test_a_network_is_taught_by_one_of_an_earlier_run(finished: Path, own: Path, tmp_path: Path) -> None:
    folder = finished / "checkpoints" / "elman-seed0" / "best"
    taught = ["--config.networks=elman", "--config.seeds=1", "--config.teacher_share=0.5"]
    flags = [*QUICK, f"--config.file={own}", f"--workdir={tmp_path / 'run'}", *taught, f"--config.teacher={folder}"]
    ((status, printed),) = answered([{"module": "music", "flags": flags, "drawn": False}])
    assert status == 0, printed
    (end,) = (record for record in records_in(tmp_path / "run") if record["kind"] == "result")
    (other,) = (each for each in records_in(finished) if each["kind"] == "result" and each["run"] == "elman-seed0")
    assert (end["teacher"], end["teacher_share"]) == (str(folder), 0.5)
    assert end["test"] != other["test"]
    assert f"with a weight of 0.5, how probable each key is by the network in {folder}" in (
        tmp_path / "run" / "summary.md"
    ).read_text().replace("\n", " ")
    assert "teacher" not in other


def test_wrong_commands_are_answered_in_a_line(finished: Path, tmp_path: Path, own: Path) -> None:
    given, out = f"--workdir={finished}", f"--output={tmp_path / 'piece.mid'}"
    (tmp_path / "text.mid").write_text("no music")
    midi.write(((), ()), tmp_path / "silent.mid")
    calls = {
        ("music.compose", f"--workdir={tmp_path}", out): "has no trained network: give the folder of a run of",
        ("music.compose", given, out, "--run=gru"): "--run=gru is not in",
        ("music.compose", given, out, "--primer=nowhere.mid"): "No such file or directory: 'nowhere.mid'",
        ("music.compose", given, out, f"--primer={tmp_path}"): "Is a directory",
        ("music.compose", given, out, f"--primer={tmp_path / 'text.mid'}"): "is not a MIDI file",
        ("music.compose", given, out, f"--primer={tmp_path / 'silent.mid'}"): "has no notes",
        ("music.compose", given, "--output=piece.wav"): "--output=piece.wav is not the name of a MIDI file",
        ("music.compose", given, out, "--bars=0"): "--bars=0: expected 1 to 10,000",
        ("music.compose", given, out, "--temperature=0"): "--temperature=0.0: expected a positive number",
        ("music.compose", given, out, "--temperature=nan"): "--temperature=nan: expected a positive number",
        ("music", "--config.file=nowhere.json"): "nowhere.json",
        ("music", "--config.networks=gru:chords"): "unknown output 'chords'",
        ("music", "--config.teacher=nowhere", "--config.teacher_share=1", "--config.networks=gru"): "nowhere",
        (
            *("music", "--config.networks=gru", "--config.teacher_share=1"),
            f"--config.teacher={finished / 'checkpoints' / 'gru-joint-seed0' / 'best'}",
        ): "has a joint output, without a probability of each key: expected a network with sigmoids",
        (
            *("music", "--config.networks=gru:joint", "--config.teacher_share=1"),
            f"--config.teacher={finished / 'checkpoints' / 'elman-seed0' / 'best'}",
        ): "--config.networks has gru:joint: --config.teacher can teach networks with sigmoids alone",
        ("music", f"--config.file={own}", "--config.lags=50"): "--config.lags is 50: expected less",
    }
    found = answered([{"module": module, "flags": list(flags)} for module, *flags in calls])
    for (status, printed), message in zip(found, calls.values(), strict=True):
        assert status == 1, message
        assert message in printed
        assert len(printed.strip().splitlines()) <= 2, printed
    assert not (tmp_path / "piece.mid").exists()


@pytest.mark.parametrize("variant", ["default", *(variant.__name__ for variant in settings.VARIANTS)])
def test_the_plan_of_every_variant_has_each_network_once_a_seed_and_counting_once(variant: str) -> None:
    config = settings.get_config(variant)
    config.teacher_share = 0.0  # a teacher has to be trained before
    runs, names = plan(config), config.networks.split(",")
    counted = len({"frequency", "held"} & set(names))
    assert len({run.name for run in runs}) == len(runs) == counted + config.seeds * (len(names) - counted)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("networks", "gru,gruu", "unknown cell 'gruu': did you mean 'gru'"),
        ("networks", "gru:chords", "unknown output 'chords'"),
        ("output_dropout", 1.0, "--config.output_dropout is 1"),
        ("note_dropout", -0.1, "--config.note_dropout is -0.1"),
        ("weight_decay", -1.0, "--config.weight_decay is -1"),
        ("evaluate_every", 75, "--config.evaluate_every is 75: expected a multiple of --config.steps_a_call"),
        ("row_frames", 4, "--config.row_frames is 4: expected at least 8"),
        ("contexts", "1,none", "--config.contexts is '1,none': expected positive whole numbers"),
        ("up", 100, "--config.up is 100"),
        ("seeds", 0, "--config.seeds is 0: expected at least 1"),
        ("teacher_share", 0.5, "--config.teacher is '' and --config.teacher_share is 0.5: expected both"),
        ("teacher_share", 1.5, "--config.teacher_share is 1.5"),
        ("teacher", "runs", "--config.teacher is 'runs' and --config.teacher_share is 0.0: expected both"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field: str, value: object, message: str) -> None:
    check_refused(plan, settings.get_config("default"), field, value, message)
