"""The speech experiment's data: who speaks, phonemes by frame, bands of the mel scale, noise; a damaged synthesizer."""

import importlib.util
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from experiments.speech import config as settings
from experiments.speech import data as speech_data
from experiments.speech import features, noise, phonemes, synthesizer, texts
from experiments.speech.phonemes import CLASSES
from experiments.speech.synthesizer import Request, Utterance, speak

spoken = pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="not installed: rnnjax[speech]")
SENTENCE = Request("en-us+m1", "See the cheap sash, Teddy.", 150, 50)


# The synthesizer


@spoken
def test_phonemes_cover_the_audio_without_gaps() -> None:
    (utterance,) = speak([SENTENCE]).utterances
    assert utterance.starts[0] == 0
    assert (np.diff(utterance.starts) > 0).all()
    assert utterance.starts[-1] < len(utterance.samples)
    assert len(utterance.starts) == len(utterance.phonemes)
    said = [CLASSES[phonemes.class_of(sign)] for sign in utterance.phonemes]
    assert [each for each in said if each != "sil"] == [
        "s",
        "iy",
        "dh",
        "ax",
        "ch",
        "iy",
        "p",
        "s",
        "ae",
        "sh",
        "t",
        "eh",
        "d",
        "iy",
    ]


@spoken
def test_a_voice_speaks_the_same_each_time_and_whoever_spoke_before() -> None:
    others = [Request("en+f1", "Nothing of this matters.", 200, 30), SENTENCE]
    alone, again, last = (
        synthesizer._speak.__wrapped__(tuple(each), "").utterances[-1] for each in ([SENTENCE], [SENTENCE], others)
    )
    for other in (again, last):
        np.testing.assert_array_equal(alone.samples, other.samples)
        np.testing.assert_array_equal(alone.starts, other.starts)


@spoken
def test_a_hiss_is_heard_where_there_is_said_to_be_one() -> None:
    """By the spectra of the samples alone: of s and sh most is above 2 kHz, of the vowels below."""
    (utterance,) = speak([SENTENCE]).utterances
    ends = [*utterance.starts[1:], len(utterance.samples)]
    shares = []
    for start, end, sign in zip(utterance.starts, ends, utterance.phonemes, strict=True):
        name = CLASSES[phonemes.class_of(sign)]
        spectrum = np.abs(np.fft.rfft(utterance.samples[start:end])) ** 2
        frequencies = np.fft.rfftfreq(end - start, 1 / utterance.rate)
        if name != "sil":
            shares.append((name, spectrum[frequencies > 2000].sum() / spectrum.sum()))
    assert all(share > 0.6 for name, share in shares if name in ("s", "sh"))
    assert all(share < 0.4 for name, share in shares if name in ("iy", "ax", "ae", "eh"))


@spoken
def test_an_unknown_voice_and_a_text_without_words_are_refused_in_a_line() -> None:
    for request, message in (
        (SENTENCE._replace(voice="en-xx"), "no voice 'en-xx'"),
        (SENTENCE._replace(text=" "), "is silent"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            speak([request])
        assert "\n" not in str(raised.value)


@spoken
@pytest.mark.parametrize("damage", ["no folder", "no phonemes", "cut"])
def test_damaged_data_are_refused_in_a_line_that_says_what_to_do(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "espeak-ng-data"
    if damage != "no folder":
        _, data = synthesizer._installed()
        shutil.copytree(
            data,
            folder,
            ignore=lambda _, names: [name for name in names if name.endswith("_dict") and name != "en_dict"],
        )
        file = folder / "phontab"
        file.write_bytes(file.read_bytes()[: 1000 * (damage == "cut")])
    with pytest.raises(OSError, match="install it again: pip install --force-reinstall espeakng-loader") as raised:
        speak([SENTENCE], str(folder))
    assert "\n" not in str(raised.value)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "rnnjax\[speech\]"'):
        synthesizer._installed()


@spoken
def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import espeakng_loader

    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "libespeak-ng.so"))
    with pytest.raises(FileNotFoundError, match=r"libespeak-ng.so does not exist: install it again by pip"):
        synthesizer._installed()


@pytest.mark.parametrize(
    ("starts", "message"),
    [([5, 3], "out of order"), ([0, 200], "out of order"), ([], "is silent"), ([-1], "out of order")],
)
def test_answers_that_cannot_be_are_refused(starts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesizer.whole(np.ones(100, np.int16), np.array(starts, np.int32), ["s"] * len(starts), 22050, SENTENCE)


def test_a_phoneme_that_takes_no_time_is_dropped_and_a_late_first_one_comes_after_a_pause() -> None:
    found = synthesizer.whole(np.ones(100, np.int16), np.array([10, 40, 40, 100]), ["s", "i", "t", ""], 22050, SENTENCE)
    assert found.starts.tolist() == [0, 10, 40]
    assert found.phonemes == ("", "s", "t")


# Phonemes


def test_no_sign_comes_to_two_classes_and_stress_to_none() -> None:
    signs = [sign for of_class in phonemes.SIGNS.values() for sign in of_class]
    assert len(signs) == len(set(signs))
    assert len(CLASSES) == 45
    assert phonemes.class_of("ˈiː") == phonemes.class_of("iː") == CLASSES.index("iy")
    with pytest.raises(ValueError, match="the phoneme 'ʙ' is not an English one"):
        phonemes.class_of("ʙ")


def test_labels_are_those_at_the_middle_of_each_frame_and_zeros_are_silence() -> None:
    """A hand-made utterance at 1,000 samples a second: s up to sample 30, i up to 75, of which the end is silent."""
    samples = np.ones(100, np.int16)
    samples[55:75] = 0  # the closure before t, 20 ms
    samples[80:85] = 0  # too short for one
    utterance = Utterance(samples, 1000, np.array([0, 30, 75], np.int32), ("s", "ˈiː", "t"))
    centres = np.array([-0.02, 0, 0.029, 0.03, 0.05, 0.056, 0.07, 0.076, 0.082, 0.099, 0.12])
    found = [CLASSES[label] for label in phonemes.frame_labels(utterance, centres)]
    assert found == ["sil", "s", "s", "iy", "iy", "sil", "sil", "t", "t", "t", "sil"]


def test_runs_of_zeros_are_those_of_a_loop() -> None:
    samples = np.random.default_rng(0).integers(0, 2, 200)
    expected = np.zeros(200, bool)
    for start in range(200):
        for end in range(start + 3, 201):
            if not samples[start:end].any():
                expected[start:end] = True
    np.testing.assert_array_equal(phonemes.zeros(samples, 3), expected)


def test_runs_of_labels_cover_all_frames() -> None:
    assert phonemes.runs([3, 3, 1, 0, 0]) == [(0, 2, 3), (2, 3, 1), (3, 5, 0)]
    assert phonemes.runs([]) == []


# Features


def test_bands_of_a_sine_are_those_of_a_fourier_sum_written_out() -> None:
    frequency, amplitude = 1234.5, 0.3
    audio = amplitude * np.sin(2 * np.pi * frequency * np.arange(features.RATE // 5) / features.RATE)
    found = features.band_energies(audio)
    frame = 7
    start = frame * features.HOP - (features.WINDOW - features.HOP) // 2
    numbers = np.arange(features.WINDOW)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * numbers / features.WINDOW)
    edges = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(*(2595 * np.log10(1 + f / 700) for f in (60, 8000)), 42)]
    expected = np.zeros(features.BANDS)
    for k in range(257):
        f = k * features.RATE / 512
        power = abs(np.sum(hann * audio[start : start + 400] * np.exp(-2j * np.pi * k * numbers / 512))) ** 2
        for band in range(features.BANDS):
            left, centre, right = edges[band : band + 3]
            weight = (f - left) / (centre - left) if f <= centre else (right - f) / (right - centre)
            expected[band] += max(weight, 0) * power
    np.testing.assert_allclose(found[frame], expected, rtol=1e-6)
    # A Hann window of N samples has the energy 3 N / 8; half of it is at negative frequencies.
    np.testing.assert_allclose(found[frame].sum(), amplitude**2 / 4 * 512 * 3 * 400 / 8, rtol=1e-3)


@pytest.mark.parametrize("band", [3, 17, 31])
def test_a_sine_is_heard_in_its_band_and_the_level_makes_no_difference(band: int) -> None:
    frequency = features.band_edges()[band + 1]
    audio = np.sin(2 * np.pi * frequency * np.arange(features.RATE) / features.RATE)
    found = features.log_mel(audio)
    assert found.shape == (100, features.BANDS)
    assert (found.argmax(axis=1) == band).all()
    np.testing.assert_allclose(features.log_mel(audio / 50), found, atol=1e-4)


def test_weights_of_bands_sum_to_one_between_the_first_and_the_last_middle() -> None:
    edges, frequencies = features.band_edges(), np.fft.rfftfreq(512, 1 / features.RATE)
    inside = (frequencies >= edges[1]) & (frequencies <= edges[-2])
    np.testing.assert_allclose(features.band_weights()[:, inside].sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(features.hertz(features.mel(440.0)), 440, rtol=1e-12)


def test_audio_that_is_silent_or_too_short_is_refused() -> None:
    for audio, message in ((np.zeros(1600), "the audio is silent"), (np.ones(159), "the audio has 159 samples")):
        with pytest.raises(ValueError, match=message):
            features.log_mel(audio)


def test_frames_that_are_computed_a_part_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.random.default_rng(0).normal(size=5000)
    whole = features.band_energies(audio)
    monkeypatch.setattr(features, "_AT_ONCE", 7)
    np.testing.assert_allclose(features.band_energies(audio), whole, rtol=1e-12)


# Noise


@pytest.mark.parametrize(("colour", "slope"), [("pink", -1), ("white", 0)])
def test_noise_has_the_power_and_the_colour_that_are_asked_for(colour: str, slope: float) -> None:
    speech = np.random.default_rng(0).normal(size=2**18)
    found = noise.added(speech, "10", colour, np.random.default_rng(1)) - speech
    np.testing.assert_allclose(np.mean(speech**2) / np.mean(found**2), 10, rtol=1e-9)
    frequencies, power = signal.welch(found, nperseg=4096)
    middle = slice(20, 1500)
    fitted = np.polyfit(np.log(frequencies[middle]), np.log(power[middle]), 1)[0]
    np.testing.assert_allclose(fitted, slope, atol=0.05)
    assert noise.added(speech, "clean", colour, np.random.default_rng(1)) is speech


@pytest.mark.parametrize("condition", ["loud", "1e1", "200", "", "--5"])
def test_an_unknown_condition_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match=r"is not a condition: expected clean, or decibels"):
        noise.decibels(condition)


# All of it


@pytest.mark.slow
def test_sentences_are_plain_and_each_there_once() -> None:
    text = (
        "Return the number of the items\nthat are left. See PEP 8. Return the number of the items that are left. Oh no."
    )
    assert texts.sentences_of(text) == ["Return the number of the items that are left."]
    train, test, source = texts.divided(40, 10)
    assert (len(train), len(test), len({*train, *test})) == (40, 10, 50)
    assert "standard library" in source
    with pytest.raises(ValueError, match="are more than the"):
        texts.divided(10**6, 1)


@pytest.fixture(scope="module")
def data() -> speech_data.Data:
    pytest.importorskip("espeakng_loader", reason="not installed: rnnjax[speech]")
    return speech_data.read(settings.get_config("quick"))


def test_what_is_trained_on_is_standardized_and_test_utterances_are_scaled_alike(data: speech_data.Data) -> None:
    np.testing.assert_allclose(np.asarray(data.train.inputs).mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(data.train.inputs).std(axis=(0, 1)), 1, atol=1e-4)
    assert data.train.inputs.shape == (2, len(data.train.labels), features.BANDS)
    assert set(data.tests) == {(group, condition) for group in speech_data.GROUPS for condition in ("clean", "10")}
    for group in speech_data.GROUPS:
        quiet, loud = (data.tests[group, condition] for condition in ("clean", "10"))
        np.testing.assert_array_equal(quiet.labels, loud.labels)
        mask = np.asarray(quiet.mask)
        assert (np.asarray(quiet.inputs)[~mask] == 0).all()
        heard = np.asarray(quiet.inputs)[mask] * data.scale.deviation + data.scale.mean
        assert heard.min() > -60.1
        assert (np.asarray(loud.inputs)[mask] - np.asarray(quiet.inputs)[mask]).mean() > 0.1  # pauses are filled
    counts = Counter(np.asarray(data.train.labels).tolist())
    assert 0.1 < counts[CLASSES.index("sil")] / len(data.train.labels) < 0.5
    assert len(counts) > 35


def test_no_sentence_to_test_on_is_trained_on_and_the_held_out_voice_speaks_in_tests_alone() -> None:
    config = settings.get_config("default")
    train, test, _ = texts.divided(config.train_sentences, config.test_sentences)
    assert not {*train} & {*test}
    asked = list(speech_data.requests(train, ["a", "b"], config, 1))
    assert [each.voice for each in asked[:3]] == ["a", "b", "a"]
    assert asked == list(speech_data.requests(train, ["a", "b"], config, 1))
    rates, pitches = ([getattr(each, name) for each in asked] for name in ("rate", "pitch"))
    assert (min(rates), max(rates)) == (config.slowest, config.fastest)
    assert (min(pitches), max(pitches)) == (config.lowest_pitch, config.highest_pitch)
    assert not {*config.voices.split(",")} & {*config.held_out_voices.split(",")}
