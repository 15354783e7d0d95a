"""The features that a network reads: the energies of 40 bands of the mel scale, in decibels, every 10 ms.

    X_t    spectrum of 25 ms of 16 kHz audio around the middle of frame t, by a Hann window
    E_tb   sum over frequencies f of w_b(f) |X_t(f)|²                     w_b triangles, equally wide in mel
    x_tb   10 log10(E_tb / L + 10^-6)                                     L the energy of the loudest frames

with mel(f) = 2595 log10(1 + f / 700). L is the 98th percentile of the frames' energies, summed over all bands. It makes
the features independent of how loud a recording is.
"""

import math

import numpy as np
from scipy import fft, signal

RATE = 16_000
WINDOW = 400
HOP = 160
BANDS = 40
LOWEST, HIGHEST = 60.0, RATE / 2

HOP_MS = 1000 * HOP / RATE

_FFT = 512
_LOUD = 0.98
_FLOOR = 1e-6
_AT_ONCE = 20_000  # frames whose spectra are in memory together


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Mel from Hz."""
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def hertz(mels: np.ndarray | float) -> np.ndarray:
    """Hz from mel."""
    return 700 * (10 ** (np.asarray(mels) / 2595) - 1)


def band_edges() -> np.ndarray:
    """Edges (BANDS + 2,) in Hz: band b rises from edge b to 1 at edge b + 1, and falls to 0 at edge b + 2."""
    return hertz(np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2))


def band_weights() -> np.ndarray:
    """The weight (BANDS, frequencies) of each frequency of the spectrum in each band."""
    frequencies = fft.rfftfreq(_FFT, 1 / RATE)
    edges = band_edges()[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0)


def frame_count(samples: int) -> int:
    """The number of frames of audio at ``RATE``; samples left over at its end are in no frame."""
    return samples // HOP


def frame_centres(frames: int) -> np.ndarray:
    """The middle (T,) of each frame, in seconds."""
    return (np.arange(frames) + 0.5) * HOP / RATE


def band_energies(audio: np.ndarray) -> np.ndarray:
    """Energies (T, BANDS) of audio (N,) at ``RATE``, in the dtype of the audio."""
    frames = frame_count(len(audio))
    if not frames:
        return np.zeros((0, BANDS), audio.dtype)
    around = np.pad(audio[: frames * HOP], (WINDOW - HOP) // 2)
    windows = np.lib.stride_tricks.sliding_window_view(around, WINDOW)[::HOP]
    shape, weights = (each.astype(audio.dtype) for each in (signal.get_window("hann", WINDOW), band_weights().T))
    parts = []
    for start in range(0, frames, _AT_ONCE):
        spectra = fft.rfft(windows[start : start + _AT_ONCE] * shape, _FFT, axis=-1)
        parts.append((spectra.real**2 + spectra.imag**2) @ weights)
    return np.concatenate(parts)


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Energies (T, BANDS) in decibels, float32, of audio (N,) at ``RATE``.

    Raises:
        ValueError: for audio that is shorter than a frame, or silent.
    """
    energies = band_energies(audio)
    if not len(energies):
        raise ValueError(f"the audio has {len(audio)} samples: expected {HOP} or more, a frame of {HOP_MS:g} ms")
    level = np.quantile(energies.sum(axis=1), _LOUD)
    if not level > 0:
        raise ValueError("the audio is silent: expected samples other than 0 in at least 2 % of the frames")
    return (10 * np.log10(energies / level + _FLOOR)).astype(np.float32)


def resampled(audio: np.ndarray, rate: int) -> np.ndarray:
    """Audio (N,) of sample rate ``rate``, resampled to ``RATE`` by a polyphase filter."""
    if rate == RATE:
        return audio
    common = math.gcd(rate, RATE)
    found: np.ndarray = signal.resample_poly(audio, RATE // common, rate // common)
    return found
