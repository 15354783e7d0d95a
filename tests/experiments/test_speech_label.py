"""experiments.speech.label: WAV files of all kinds as audio, what a network hears in them, and what is refused."""

import struct
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy.io import wavfile

from experiments.common import checkpoint
from experiments.common.averaged import initial_state
from experiments.common.errors import ExperimentError
from experiments.common.optimizer import make_optimizer
from experiments.speech import config as settings
from experiments.speech import features, model, spectrogram, wav
from experiments.speech.main import SIZES
from experiments.speech.phonemes import CLASSES
from experiments.speech.trained import Stretch, load, probabilities, stretches
from tests.answers import answered

SECONDS = np.arange(16_000) / 16_000
TONE = 0.4 * np.sin(2 * np.pi * 440 * SECONDS)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an untrained network in it."""
    config, folder = settings.get_config("quick"), tmp_path_factory.mktemp("runs")
    with jax.enable_x64(False):
        layer = model.sized_layer("cnn-lstm-dnn", config, SIZES)
        state = initial_state(model.init(layer, SIZES, jax.random.key(0)), make_optimizer(config), jax.random.key(1))
        about: dict[str, Any] = {
            "run": {"network": "cnn-lstm-dnn", "delay": 5, "seed": 0},
            "config": config.to_dict(),
            "classes": list(CLASSES),
            "scale": {"mean": [-30.0] * features.BANDS, "deviation": [20.0] * features.BANDS},
        }
        checkpoint.save(folder / "checkpoints" / "cnn-lstm-dnn-5-seed0" / "last", 60, state, about)
    return folder


def written(folder: Path, rate: int, samples: np.ndarray) -> str:
    path = folder / "sound.wav"
    wavfile.write(path, rate, samples)
    return str(path)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_samples_of_every_kind_come_to_the_same(dtype: str, tmp_path: Path) -> None:
    if dtype == "uint8":
        samples = np.round(128 + 128 * TONE).astype(np.uint8)
    elif dtype.startswith("int"):
        samples = np.round(TONE * 2 ** (8 * np.dtype(dtype).itemsize - 1)).astype(dtype)
    else:
        samples = TONE.astype(dtype)
    found = wav.read(written(tmp_path, 16_000, samples))
    np.testing.assert_allclose(found.audio, TONE, atol=1 / 128 if dtype == "uint8" else 1e-4)
    assert found.told == ()


def test_samples_of_24_bits_are_read(tmp_path: Path) -> None:
    values = np.round(TONE * 2**23).astype("<i4")
    data = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    head = (
        b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 48_000, 3, 24) + b"data" + struct.pack("<I", len(data))
    )
    path = tmp_path / "sound.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data)
    np.testing.assert_allclose(wav.read(str(path)).audio, TONE, atol=1e-6)


def test_several_channels_are_averaged_and_it_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, 16_000, np.stack([TONE, -TONE / 2], axis=1))
    found = wav.read(path)
    np.testing.assert_allclose(found.audio, TONE / 4, atol=1e-12)
    assert found.told == (f"{path} has 2 channels: their mean is used",)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_another_rate_is_resampled_the_tone_stays_and_it_is_told(rate: int, tmp_path: Path) -> None:
    samples = 0.4 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    found = wav.read(written(tmp_path, rate, samples))
    assert len(found.audio) == pytest.approx(16_000, abs=1)
    np.testing.assert_allclose(found.audio[500:-500], TONE[500 : len(found.audio) - 500], atol=2e-3)
    (told,) = found.told
    assert f"has {rate:,} samples a second: resampled to 16,000" in told
    assert ("labels are doubtful" in told) == (rate < 16_000)


@pytest.mark.slow
def test_what_is_heard_is_what_the_network_answers_and_stretches_cover_the_file(workdir: Path) -> None:
    known = load(workdir / "checkpoints" / "cnn-lstm-dnn-5-seed0" / "last")
    audio = np.random.default_rng(0).normal(size=16_000 + 37)
    found = probabilities(known, audio)
    assert found.shape == (100, 45)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    inputs = known.scale.standardized(features.log_mel(audio))[:, None]
    ahead = np.concatenate([inputs, np.zeros((5, 1, features.BANDS), np.float32)])
    logits = model.logits(known.layer, known.network, jax.numpy.asarray(ahead), jax.numpy.ones((105, 1), bool))[5:, 0]
    np.testing.assert_allclose(found, jax.nn.softmax(logits, axis=-1), rtol=2e-4, atol=1e-6)
    heard = list(stretches(known, found))
    assert [each.start for each in heard] == [0, *(each.end for each in heard[:-1])]
    assert heard[-1].end == 1
    for each in heard:
        part = found[round(100 * each.start) : round(100 * each.end)]
        assert {CLASSES[k] for k in part.argmax(axis=1)} == {each.phoneme}
        np.testing.assert_allclose(each.probability, part[:, CLASSES.index(each.phoneme)].mean(), rtol=1e-6)


def test_the_picture_of_a_file_has_its_phonemes(tmp_path: Path) -> None:
    heard = [Stretch(0.0, 0.3, "s", 0.9), Stretch(0.3, 1.0, "iy", 0.8)]
    spectrogram.of_file(features.log_mel(TONE), heard, "sound.wav").savefig(tmp_path / "sound.png")
    assert (tmp_path / "sound.png").stat().st_size > 5_000


def test_files_that_cannot_be_labelled_are_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone = (TONE * 32767).astype(np.int16)
    whole = Path(written(tmp_path, 16_000, tone)).read_bytes()
    made: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "cannot be read as WAV"),
        "text": (b"once upon a time there was a file", "cannot be read as WAV"),
        "head": (whole[:30], "cannot be read as WAV"),
        "no samples": (whole[:36] + b"fact" + whole[40:44] + whole[44:], "cannot be read as WAV"),
        "none": (whole[:40] + struct.pack("<I", 0), "cannot be read as WAV (no samples)"),
        "law": (whole[:20] + struct.pack("<H", 6) + whole[22:], "cannot be read as WAV"),
        "slow": (
            whole[:24] + struct.pack("<II", 4000, 8000) + whole[32:],
            "has 4,000 samples a second: expected 8,000",
        ),
        "fast": (whole[:24] + struct.pack("<II", 10**6, 2 * 10**6) + whole[32:], "has 1,000,000 samples a second"),
    }
    for name, (content, message) in made.items():
        path = tmp_path / f"{name}.wav"
        path.write_bytes(content)
        check_refused(str(path), message)
    arrays = {
        "short": (tone[:100], "has 0.00625 s of sound: expected 0.01 to 600"),
        "silent": (0 * tone, "is silent: give a file with speech"),
        "nan": (np.where(SECONDS < 0.5, TONE, np.nan), "has samples that are not finite numbers"),
    }
    for samples, message in arrays.values():
        check_refused(written(tmp_path, 16_000, samples), message)
    check_refused(str(tmp_path / "nowhere.wav"), "nowhere.wav does not exist: give a WAV file")
    check_refused(str(tmp_path), "is a folder: give a WAV file")
    monkeypatch.setattr(wav, "LONGEST", 0.5)
    check_refused(written(tmp_path, 16_000, tone), "has 1 s of sound: expected 0.01 to 0.5")
    monkeypatch.setattr(wav, "LARGEST", 1000)
    check_refused(written(tmp_path, 16_000, tone), "cannot be read as WAV (0 MB; expected 0 at most)")


def check_refused(path: str, message: str) -> None:
    with pytest.raises(ExperimentError) as raised:
        wav.read(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_was_cut_off_is_labelled_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    whole = Path(written(tmp_path, 16_000, (TONE * 32767).astype(np.int16))).read_bytes()
    path = tmp_path / "cut.wav"
    path.write_bytes(whole[:8001])
    try:
        assert 0 < len(wav.read(str(path)).audio) <= 4000
    except ExperimentError as error:
        assert "cannot be read as WAV" in str(error)  # noqa: PT017


@pytest.mark.slow
def test_the_command_labels_a_file_and_answers_wrong_ones_in_a_line(workdir: Path, tmp_path: Path) -> None:
    path = written(tmp_path, 44_100, np.stack([np.resize(TONE, 44_100)] * 2, axis=1))
    table, figure = tmp_path / "found.csv", tmp_path / "found.png"
    given = f"--workdir={workdir}"
    calls = [
        ([path, given, f"--csv={table}", f"--figure={figure}"], 0, "resampled to 16,000"),
        ([given], 1, "no file is given: give one"),
        (["nowhere.wav", given], 1, "nowhere.wav does not exist"),
        ([path, f"--workdir={tmp_path}"], 1, "has no trained network: give the folder of a run of experiments.speech"),
        ([path, given, "--run=gru"], 1, "--run=gru is not in"),
        ([path, given, "--figure=found.jpg"], 1, "--figure=found.jpg is not the name of a PNG file"),
        ([path, given, "another.wav"], 1, "2 files are given: give one"),
    ]
    found = answered([{"module": "speech.label", "flags": flags} for flags, _, _ in calls])
    for (status, printed), (_, expected, message) in zip(found, calls, strict=True):
        assert (status, message in printed) == (expected, True), printed
        assert len(printed.strip().splitlines()) <= 3 - 2 * expected
    rows = table.read_text().splitlines()
    assert rows[0] == "start,end,phoneme,probability"
    assert rows[1].startswith("0.0,")
    assert rows[-1].split(",")[1] == "1.0"
    assert figure.stat().st_size > 5_000
