"""Write two corpora of sounds that are no speech, fourteen minutes in all: `music.csv`, `environment.csv`, their clips.

Nothing in them is recorded. Music is played from scores (tunes that are nobody's property) by instruments that are
formulas; rain, wind and birds are what the comments below say, and no more. The same files come out every time.

    .venv/bin/python recipes/any-audio/make_corpora.py [data/any-audio]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from numpy.random import Generator
from scipy.signal import butter, lfilter, sosfilt

from vocoder.data.corpora import Utterance
from vocoder.data.manifest import write_manifest

Array = npt.NDArray[np.float64]
Clips = dict[str, tuple[str, str, Callable[[], Array]]]  # by id: the part, what it is, what makes the samples

SAMPLE_RATE = 22_050
SECONDS = 5.0  # of a clip
NYQUIST = SAMPLE_RATE / 2

# A note is its name and its beats, one if left out.
TUNES = {
    "Frère Jacques": "C4 D4 E4 C4 C4 D4 E4 C4 E4 F4 G4:2 E4 F4 G4:2",
    "Ah! vous dirai-je, maman": "C4 C4 G4 G4 A4 A4 G4:2 F4 F4 E4 E4 D4 D4 C4:2",
    "Au clair de la lune": "C4 C4 C4 D4 E4:2 D4:2 C4 E4 D4 D4 C4:4",
    "Auld lang syne": "C4 F4:1.5 E4:.5 F4 A4 G4:1.5 F4:.5 G4 A4 F4:1.5 F4:.5 A4 C5 D5:3",
    "Minuet in G (Petzold)": "D5 G4:.5 A4:.5 B4:.5 C5:.5 D5 G4 G4 E5 C5:.5 D5:.5 E5:.5 F#5:.5 G5 G4 G4",
    "Korobeiniki": "E5 B4:.5 C5:.5 D5 C5:.5 B4:.5 A4 A4:.5 C5:.5 E5 D5:.5 C5:.5 B4:1.5 C5:.5 D5 E5 C5 A4 A4:2",
    "Scarborough Fair": "D4:2 D4 A4:2 A4 E4:1.5 F4:.5 E4 D4:3 A4 C5 D5:2 C5 A4 B4 G4 A4:3",
    "Ode to Joy (Beethoven)": "E4 E4 F4 G4 G4 F4 E4 D4 C4 C4 D4 E4 E4:1.5 D4:.5 D4:2",
    "Greensleeves": "A4 C5:2 D5 E5:1.5 F5:.5 E5 D5:2 B4 G4:1.5 A4:.5 B4 C5:2 A4 A4:1.5 G#4:.5 A4 B4:2 G#4 E4:2",
}
HELD_OUT = {"Scarborough Fair": "validation", "Ode to Joy (Beethoven)": "test"}
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def to_hertz(note: str, transposed: float = 0.0) -> float:
    """Give the frequency of a note, `F#5` say, in equal temperament: A4 is 440 Hz."""
    semitones = SEMITONES[note[0]] + note.count("#") + 12 * int(note[-1]) - 57
    return 440.0 * 2 ** ((semitones + transposed) / 12)


def times(seconds: float) -> Array:
    """Give the time of each sample, in seconds."""
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def envelope(seconds: float, attack: float, release: float) -> Array:
    """Give a rise, a plateau and a fall that ends at zero."""
    t = times(seconds)
    return np.clip(np.minimum(t / attack, (seconds - t) / release), 0.0, 1.0)


def partials(
    hertz: float, seconds: float, parts: list[tuple[float, float, float]], wobble: Array | float = 0.0
) -> Array:
    """Add sines below the Nyquist frequency, so that nothing aliases.

    Args:
        hertz: The fundamental.
        seconds: The length.
        parts: Of each partial: frequency over the fundamental, amplitude, seconds in which it falls by 60 dB.
        wobble: The phase modulation of the fundamental, in radians.
    """
    t = times(seconds)
    heard = [(ratio, size, decay) for ratio, size, decay in parts if ratio * hertz < 0.9 * NYQUIST]
    sines = (s * 10 ** (-3 * t / d) * np.sin(r * (2 * np.pi * hertz * t + wobble)) for r, s, d in heard)
    return sum(sines, np.zeros_like(t))


def band(rng: Generator, samples: int, low: float, high: float) -> Array:
    """Give noise of unit size between two frequencies in Hz."""
    noise = sosfilt(butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos"), rng.standard_normal(samples))
    return noise / np.std(noise)


def pluck(hertz: float, seconds: float, rng: Generator) -> Array:
    """Pluck a string: noise goes round a delay line and loses its highs (Karplus and Strong 1983).

    The line is as long as a period; two neighbouring delays, averaged, are the loss.
    """
    whole, part = divmod(SAMPLE_RATE / hertz - 0.5, 1)
    kept = 10 ** (-3 / (4.0 * hertz))  # in each turn: 60 dB in four seconds, for the lowest partial
    loop = np.concatenate([[1.0], np.zeros(int(whole) - 1), -0.5 * kept * np.array([1 - part, 1.0, part])])
    excitation = np.zeros(round(seconds * SAMPLE_RATE))
    excitation[: int(whole)] = rng.uniform(-1, 1, int(whole))
    return lfilter([1.0], loop, excitation) * envelope(seconds, 0.001, 0.05)


def strike(hertz: float, seconds: float, rng: Generator) -> Array:
    """Strike a string: partials a little sharp, as stiffness makes them, the higher ones dying sooner."""
    parts = [(k * (1 + 4e-4 * k * k) ** 0.5, k**-1.2, 3.0 / k**0.6) for k in range(1, 24)]
    return partials(hertz, seconds, parts) * envelope(seconds, 0.003, 0.05)


def organ(hertz: float, seconds: float, rng: Generator) -> Array:
    """Sound a pipe organ's principal: harmonics that stand still."""
    parts = [(k, size, 1e6) for k, size in ((1, 1.0), (2, 0.7), (3, 0.3), (4, 0.4), (6, 0.15), (8, 0.2))]
    return partials(hertz, seconds, parts) * envelope(seconds, 0.03, 0.06)


def flute(hertz: float, seconds: float, rng: Generator) -> Array:
    """Blow a flute: few harmonics, vibrato, breath."""
    vibrato = 0.03 * hertz / 5.2 * np.sin(2 * np.pi * 5.2 * times(seconds) + rng.uniform(0, 6))
    blown = partials(hertz, seconds, [(1, 1.0, 1e6), (2, 0.4, 1e6), (3, 0.15, 1e6), (4, 0.05, 1e6)], vibrato)
    breath = 0.03 * band(rng, len(blown), hertz, min(6 * hertz, 9000.0))
    return (blown + breath) * envelope(seconds, 0.06, 0.08)


def strings(hertz: float, seconds: float, rng: Generator) -> Array:
    """Bow strings: four saw-toothed waves out of tune by up to eight cents."""
    saw = [(k, 1 / k, 1e6) for k in range(1, 60)]
    players = (
        partials(hertz * 2 ** (cents / 1200), seconds, saw, rng.uniform(0, 6)) for cents in rng.uniform(-8, 8, 4)
    )
    return sum(players, np.zeros(round(seconds * SAMPLE_RATE))) * envelope(seconds, 0.12, 0.12)


def bell(hertz: float, seconds: float, rng: Generator) -> Array:
    """Ring a church bell: hum, prime, tierce, quint, nominal and above are no multiples of one frequency."""
    parts = [(0.5, 0.5, 6.0), (1, 1.0, 4.0), (1.19, 0.8, 3.0), (1.5, 0.4, 2.0), (2, 0.9, 2.0), (2.52, 0.4, 1.2)]
    return partials(hertz, seconds, [*parts, (3.01, 0.3, 0.9), (4.17, 0.2, 0.5)]) * envelope(seconds, 0.002, 0.05)


INSTRUMENTS = {f.__name__: f for f in (pluck, strike, organ, flute, strings, bell)}


def drum(rng: Generator) -> Array:
    """Beat a drum: a sine that falls from 140 to 50 Hz, and a slap of noise."""
    t = times(0.3)
    skin = np.sin(2 * np.pi * (50 * t - 90 * 0.04 * np.exp(-t / 0.04))) * np.exp(-t / 0.08)
    return skin + 0.15 * band(rng, len(t), 1500, 7000) * np.exp(-t / 0.02)


def put(clip: Array, at: float, sound: Array) -> None:
    """Add a sound to a clip from a time on, in seconds; what lasts longer than the clip is cut off."""
    begin = round(at * SAMPLE_RATE)
    clip[begin : begin + len(sound)] += sound[: max(len(clip) - begin, 0)]


def play(tune: str, lead: str, drone: str | None, drums: bool, rng: Generator) -> Array:
    """Play a tune in some key and tempo; maybe over a drone of keynote and fifth, maybe with a drum on each beat."""
    clip, at, transposed = np.zeros(round(SECONDS * SAMPLE_RATE)), 0.05, rng.integers(-5, 6)
    beat = 60 / rng.uniform(100, 160)
    notes = [note.partition(":") for note in TUNES[tune].split()]
    for name, _, beats in notes:
        length = float(beats or 1) * beat
        ring = 0.8 if lead in ("pluck", "strike", "bell") else 0.02  # seconds beyond the note: nobody damps a bell
        put(clip, at, INSTRUMENTS[lead](to_hertz(name, transposed), length + ring, rng))
        at += length
    clip /= np.abs(clip).max()
    if drone:
        low = to_hertz(notes[-1][0], transposed - 12)
        for ratio in (1.0, 1.5):
            held = INSTRUMENTS[drone](ratio * low, SECONDS - 0.1, rng)
            put(clip, 0.05, 0.25 * held / np.abs(held).max())
    for hit in np.arange(0.05, SECONDS, beat) if drums else ():
        put(clip, hit, 0.5 * drum(rng))
    return clip


def gusts(rng: Generator, slowest: float) -> Array:
    """Give a curve between about 0 and 1 that wanders, taking some `slowest` seconds from one to the other."""
    knots = rng.uniform(0, 1, int(2 * SECONDS / slowest) + 3)
    return np.interp(times(SECONDS) / slowest * 2, np.arange(len(knots)), knots)


def scatter(rng: Generator, per_second: float, grain: Callable[[], Array]) -> Array:
    """Put grains at times that know nothing of each other."""
    clip = np.zeros(round(SECONDS * SAMPLE_RATE))
    for at in rng.uniform(0, SECONDS, rng.poisson(per_second * SECONDS)):
        put(clip, at, grain())
    return clip


def ring(rng: Generator, low: float, high: float, decay: float, rise: float = 0.0) -> Array:
    """Give a damped sine of some frequency, in Hz, that rises by a share of itself in each second."""
    hertz, t = np.exp(rng.uniform(np.log(low), np.log(high))), times(8 * decay)
    return rng.exponential() * np.sin(2 * np.pi * hertz * (t + rise * t * t / 2)) * np.exp(-t / decay)


def rain(rng: Generator) -> Array:
    """Make rain: hundreds of drops a second, each a click of some resonance, over the hiss of those further off."""
    drops = scatter(rng, rng.uniform(200, 500), lambda: ring(rng, 1500, 8000, 0.001))
    return drops + 0.1 * band(rng, len(drops), 800, 9000)


def wind(rng: Generator) -> Array:
    """Make wind: noise in two bands, whose levels wander; the upper one is the whistle of an edge."""
    clip = gusts(rng, 1.5) ** 2 * band(rng, round(SECONDS * SAMPLE_RATE), 80, 500)
    pitch = rng.uniform(500, 1200)
    return clip + 0.4 * gusts(rng, 1.0) ** 3 * band(rng, len(clip), 0.95 * pitch, 1.05 * pitch)


def waves(rng: Generator) -> Array:
    """Make surf: noise that swells and breaks every few seconds, brighter while it is loud."""
    swell = (0.5 - 0.5 * np.cos(2 * np.pi * (times(SECONDS) / rng.uniform(2.5, 4) + rng.uniform()))) ** 2
    return (0.1 + swell) * band(rng, len(swell), 100, 1500) + 0.7 * swell**2 * band(rng, len(swell), 1500, 9000)


def brook(rng: Generator) -> Array:
    """Make a brook: bubbles, damped sines that rise as a bubble comes to the surface (van den Doel 2005)."""
    return scatter(rng, rng.uniform(60, 120), lambda: ring(rng, 400, 3000, 0.012, rise=rng.uniform(0, 15)))


def fire(rng: Generator) -> Array:
    """Make a fire: crackles over a low roar."""
    crackle = scatter(
        rng, rng.uniform(10, 30), lambda: rng.exponential() * band(rng, 400, 1000, 9000) * 0.98 ** np.arange(400)
    )
    return crackle + 0.3 * gusts(rng, 0.5) * band(rng, len(crackle), 60, 400)


def steps(rng: Generator) -> Array:
    """Make steps on gravel: a thump of the heel, then of the sole, each with a rush of small stones."""
    clip, pace = np.zeros(round(SECONDS * SAMPLE_RATE)), rng.uniform(0.45, 0.65)
    for heel in np.arange(rng.uniform(0.1, 0.4), SECONDS, pace):
        for at in (heel, heel + 0.12):
            t = times(0.15)
            stones = band(rng, len(t), 1000, 8000) * rng.uniform(0, 1, len(t)) ** 4 * np.exp(-t / 0.03)
            put(clip, at + rng.uniform(0, 0.02), np.sin(2 * np.pi * 80 * t) * np.exp(-t / 0.02) + stones)
    return clip + 0.003 * rng.standard_normal(len(clip))


def birds(rng: Generator) -> Array:
    """Make birds: whistles that sweep between 2 and 6 kHz, each bird repeating its own."""
    clip = 0.004 * band(rng, round(SECONDS * SAMPLE_RATE), 200, 3000)
    for _ in range(3):
        begin, end, length, rest = (
            rng.uniform(2000, 6000),
            rng.uniform(2000, 6000),
            rng.uniform(0.06, 0.2),
            rng.uniform(1, 2),
        )
        t = times(length)
        whistle = (
            np.sin(2 * np.pi * (begin * t + (end - begin) * t * t / (2 * length))) * np.sin(np.pi * t / length) ** 2
        )
        for phrase, note in product(np.arange(rng.uniform(0, rest), SECONDS, rest), range(rng.integers(2, 5))):
            put(clip, phrase + 1.4 * length * note, rng.uniform(0.2, 1) * whistle)
    return clip


def crickets(rng: Generator) -> Array:
    """Make crickets: pulses of a tone near 4.5 kHz, some thirty a second, in chirps."""
    clip, t = 0.01 * band(rng, round(SECONDS * SAMPLE_RATE), 200, 4000), times(SECONDS)
    for _ in range(3):
        pulses = np.clip(np.sin(2 * np.pi * rng.uniform(25, 35) * t), 0, 1)
        chirps = np.clip(
            10 * (np.sin(2 * np.pi * rng.uniform(1, 3) * t + rng.uniform(0, 6)) - rng.uniform(-0.5, 0.3)), 0, 1
        )
        clip += rng.uniform(0.2, 1) * pulses * chirps * np.sin(2 * np.pi * rng.uniform(4000, 5000) * t)
    return clip


SCENES = {f.__name__: f for f in (rain, wind, waves, brook, fire, steps, birds, crickets)}


def music() -> Clips:
    """Make the clips of the first corpus: each tune twice on each instrument; once, if it is held out."""
    clips: Clips = {}
    for (number, tune), lead in product(enumerate(TUNES), INSTRUMENTS):
        for take in range(1 if tune in HELD_OUT else 2):
            rng = np.random.default_rng([1, number, list(INSTRUMENTS).index(lead), take])
            drone, drums = (None, "organ", "strings", "pluck")[rng.integers(4)], bool(rng.integers(2))
            text = f"{tune}: {lead}{f' over {drone}' if drone else ''}{', with a drum' if drums else ''}"
            id_ = f"{number + 1}-{lead}-{take + 1}"
            clips[id_] = HELD_OUT.get(tune, "train"), text, partial(play, tune, lead, drone, drums, rng)
    return clips


def environment() -> Clips:
    """Make the clips of the second corpus; those that are held out differ from the others by chance alone."""
    clips: Clips = {}
    for (number, (name, scene)), take in product(enumerate(SCENES.items()), range(9)):
        part, rng = {0: "test", 1: "validation"}.get(take, "train"), np.random.default_rng([2, number, take])
        clips[f"{name}-{take + 1}"] = part, f"synthetic {name}", partial(scene, rng)
    return clips


def write(folder: Path, name: str, clips: Clips) -> None:
    """Write a corpus: 16 bits, peaks between -15 and -3 dB of full scale; its list last, when all is there."""
    (folder / name).mkdir(parents=True)
    rows, texts = [], {}
    for number, (id_, (part, text, make)) in enumerate(clips.items()):
        rng, samples = np.random.default_rng([3, number]), make()
        loud = samples * (10 ** (rng.uniform(-15, -3) / 20) / np.abs(samples).max())
        path = folder / name / f"{id_}.flac"
        # Silence between notes is digital, which no recording's is: -80 dBFS of noise stand in for the room.
        soundfile.write(path, loud + 1e-4 * rng.standard_normal(len(loud)), SAMPLE_RATE, subtype="PCM_16")
        rows.append(Utterance(id_, path, part=part))
        texts[id_] = text
    write_manifest(folder / f"{name}.csv", rows, texts)
    print(f"{folder / name}.csv: {len(clips)} clips, {len(clips) * SECONDS / 60:.0f} minutes")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "data/any-audio")
    if target.exists():
        sys.exit(f"The corpora get a folder of their own, but {target} is there already. Remove it, or name another.")
    write(target, "music", music())
    write(target, "environment", environment())
