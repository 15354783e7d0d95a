"""The captioning experiment's scenes against pixels counted by other means, their captions, and picture files."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.captioning import data as captioning_data
from experiments.captioning import grammar, scenes
from experiments.captioning.grammar import ABOVE, END, LEFT, Said, parsed, seen_in, spelled, words_of
from experiments.captioning.picture_file import read_picture
from experiments.captioning.scenes import COLOURS, COMBINATIONS, SIDE, SIZES, Placed, Scene, Thing
from experiments.common.errors import ExperimentError

CENTRES = (np.arange(SIDE * 20) + 0.5) / 20


def inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points are in a shape of radius 1, by inequalities instead of corners; y goes down."""
    if shape == "circle":
        return x**2 + y**2 <= 1
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.9
    if shape == "cross":
        return (np.minimum(abs(x), abs(y)) <= 0.35) & (np.maximum(abs(x), abs(y)) <= 1)
    if shape == "triangle":  # three half planes, each half of the circle's radius away
        normals = [np.pi / 2 + 2 * np.pi * k / 3 for k in range(3)]
        return np.all([x * np.cos(a) + y * np.sin(a) <= 1.15 / 2 for a in normals], axis=0)
    assert shape == "star"  # in a tenth of it, the side of the line from its outer corner to its inner one
    turn = np.arctan2(x, -y) % (2 * np.pi / 5)
    turn, length = np.minimum(turn, 2 * np.pi / 5 - turn), np.hypot(x, y)
    u, v = length * np.cos(turn), length * np.sin(turn)
    a, b = np.array([1.15, 0.0]), 0.5 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    return (b[0] - a[0]) * (v - a[1]) - (b[1] - a[1]) * (u - a[0]) >= 0


AREAS = {
    "circle": np.pi,
    "square": 1.8**2,
    "triangle": 3 * 3**0.5 / 4 * 1.15**2,
    "star": 5 * 1.15 * 0.5 * np.sin(np.pi / 5),
    "cross": 2 * 2 * 0.7 - 0.7**2,
}


def coverage(picture: np.ndarray, rgb: tuple[int, int, int]) -> np.ndarray:
    """How much of each pixel an object covers that is alone in the picture."""
    ground = np.array(scenes.BACKGROUND, float)
    way = np.array(rgb, float) - ground
    return ((picture - ground) @ way) / (way @ way)


@pytest.mark.parametrize(("shape", "size"), list(itertools.product(AREAS, SIZES)))
def test_each_shape_covers_the_pixels_that_inequalities_say(shape: str, size: str) -> None:
    radius, (x, y), rgb = SIZES[size], (17.3, 22.8), (200, 30, 50)
    found = coverage(scenes.rendered((Placed(Thing(size, "red", shape), x, y, rgb),)), rgb)
    fine = inside(shape, *np.meshgrid((CENTRES - x) / radius, (CENTRES - y) / radius))
    expected = fine.reshape(SIDE, 20, SIDE, 20).mean(axis=(1, 3))
    assert abs(found - expected).max() < 0.3  # Pillow draws an outline, too, half of an eighth of a pixel wide
    np.testing.assert_allclose(expected.sum(), AREAS[shape] * radius**2, rtol=0.02)
    np.testing.assert_allclose(found.sum(), expected.sum(), rtol=0.2)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    centre = [(found * each).sum() / found.sum() for each in (columns, rows)]
    np.testing.assert_allclose(centre, [x, y], rtol=0, atol=0.15)


def test_in_every_scene_each_object_stands_where_it_is_said_to_in_its_colour_and_nothing_else_does() -> None:
    names, palette = list(COLOURS), np.array(list(COLOURS.values()))
    for scene in scenes.scenes(200, 5, seed=7):
        picture = scenes.rendered(scene).astype(int)
        for each in scene:
            pixel = picture[int(each.y), int(each.x)]
            assert names[abs(palette - pixel).sum(axis=1).argmin()] == each.thing.colour
            assert tuple(pixel) == each.rgb
            reach = 1.15 * SIZES[each.thing.size]
            assert reach <= min(each.x, each.y)
            assert max(each.x, each.y) <= SIDE - reach
        dark = (picture < 250).any(axis=-1)
        rows, columns = np.nonzero(dark)
        nearest = [np.hypot(columns + 0.5 - each.x, rows + 0.5 - each.y) / SIZES[each.thing.size] for each in scene]
        assert np.min(nearest, axis=0).max() < 1.5


def test_the_caption_is_decided_by_the_picture_whatever_the_order_of_the_objects() -> None:
    kinds: Counter[tuple[str, ...]] = Counter()
    for scene in scenes.scenes(300, 5, seed=3):
        said = seen_in(scene)
        for (one, other), relation in zip(itertools.pairwise(scene), said.relations, strict=True):
            right, down = other.x - one.x, other.y - one.y
            along, across = (right, down) if relation == LEFT else (down, right)
            assert along > 11.9
            assert abs(across) < 1.01
        assert [each.thing for each in scene] == list(said.things)
        assert seen_in(scene[::-1]) == said
        kinds[tuple("-".join(each) for each in said.relations)] += 1
    assert len(kinds) == 1 + 2 + 4
    assert min(kinds.values()) > 15


def test_a_caption_says_what_was_meant_and_what_is_no_caption_says_nothing() -> None:
    for scene in scenes.scenes(100, 5, seed=4):
        said = seen_in(scene)
        caption = words_of(said)
        assert parsed(caption) == parsed(caption[:-1]) == said
        assert set(caption) <= set(grammar.WORDS)
        assert len(caption) <= grammar.LONGEST
    row = Said((Thing("small", "red", "star"), Thing("large", "blue", "cross")), (LEFT,))
    assert " ".join(words_of(row)) == "a small red star left of a large blue cross ."
    for wrong in (
        "",
        ".",
        "a",
        "a red star",
        "a red small star",
        "a small red star left a large blue cross",
        "a small red star left of",
        "a small red star a large blue cross",
        "a small red star . a large blue cross",
    ):
        assert parsed(wrong.split()) is None


def test_the_chance_level_is_the_entropy_of_captions_counted_one_by_one() -> None:
    things = [(size, *each) for size in SIZES for each in COMBINATIONS[23:]]  # two combinations are seen
    nats = words = 0.0
    for number, share in enumerate(scenes.NUMBERS, 1):
        each_of = itertools.product(
            itertools.product(things, repeat=number), itertools.product((LEFT, ABOVE), repeat=number - 1)
        )
        captions = [words_of(Said(tuple(Thing(*one) for one in of), relations)) for of, relations in each_of]
        assert len({tuple(caption) for caption in captions}) == len(captions)
        probability = share / len(captions)
        nats -= share * np.log(probability)
        words += probability * sum(map(len, captions))
    np.testing.assert_allclose(grammar.chance_level(23), nats / words, rtol=1e-12)


def test_the_kinds_of_words_of_three_in_a_row_are_those_of_their_captions() -> None:
    for scene in captioning_data.in_rows(20, 5):
        for kind, word in zip(grammar.KINDS_IN_A_ROW, words_of(seen_in(scene)), strict=True):
            sets = {"size": SIZES, "colour": COLOURS, "shape": scenes.SHAPES}
            assert word in sets.get(kind, {kind: None})


def combinations_of(found: list[Scene]) -> list[list[tuple[str, str]]]:
    return [[(each.thing.colour, each.thing.shape) for each in scene] for scene in found]


@pytest.mark.parametrize("held", [1, 5, 20])
def test_held_out_combinations_are_in_no_scene_to_train_on_and_once_in_each_of_theirs(held: int) -> None:
    unseen = scenes.held_out(held)
    assert len(unseen) == held
    train, tests = scenes.scenes(400, held, 1), scenes.scenes(400, held, 1, one_unseen=True)
    of_train = {each for scene in combinations_of(train) for each in scene}
    assert of_train == set(COMBINATIONS) - unseen
    assert {each[0] for each in of_train} == set(COLOURS)
    assert {each[1] for each in of_train} == set(scenes.SHAPES)
    assert all(sum(each in unseen for each in scene) == 1 for scene in combinations_of(tests))
    assert {each for scene in combinations_of(tests) for each in scene} == set(COMBINATIONS)


def test_the_first_five_combinations_have_each_colour_and_each_shape_once() -> None:
    assert len(set(COMBINATIONS)) == 25
    for start in range(0, 25, 5):
        assert {colour for colour, _ in COMBINATIONS[start : start + 5]} == set(COLOURS)
        assert {shape for _, shape in COMBINATIONS[start : start + 5]} == set(scenes.SHAPES)


def test_scenes_as_numbers_are_pictures_and_captions_and_a_record_gives_the_scene_back() -> None:
    found = scenes.scenes(20, 5, seed=9)
    batch = captioning_data.batch_of(found)
    for place, scene in enumerate(found):
        caption = words_of(seen_in(scene))
        assert spelled(batch.words[:, place]) == caption[:-1]
        assert batch.mask[:, place].sum() == len(caption)
        assert grammar.WORDS[batch.words[len(caption) - 1, place]] == END
        np.testing.assert_array_equal(batch.pictures[place], scenes.rendered(scene))
        assert scenes.scene_of(scenes.recorded(scene)) == scene
    assert spelled([1, 2]) == list(grammar.WORDS[1:3])


# Picture files


@pytest.fixture
def scene() -> np.ndarray:
    things = (Thing("large", "red", "circle"), Thing("small", "blue", "star"))
    return scenes.rendered(scenes.arranged(np.random.default_rng(0), things, [True]))


def test_a_picture_that_fits_is_read_as_it_is(scene: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    found = read_picture(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(found.pixels, scene)
    assert found.converted == ()


def test_what_can_be_converted_is_and_is_told(scene: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(scene)
    there = (scene < 250).any(axis=-1)
    clear = Image.fromarray(np.where(there[..., None], scene, 0))  # black below what is transparent
    clear.putalpha(Image.fromarray(np.where(there, 255, 0).astype(np.uint8)))
    turned = image.transpose(Image.Transpose.ROTATE_90)  # which orientation 6 turns back
    exif = Image.Exif()
    exif[0x0112] = 6
    cases = {
        "large.png": (image.resize((160, 160), Image.Resampling.NEAREST), {}, ["scaled from 160 by 160 pixels"]),
        "clear.png": (clear, {}, ["made white where it is transparent"]),
        "palette.gif": (image, {}, ["converted from mode P to RGB"]),
        "frames.gif": (image, {"save_all": True, "append_images": [image.rotate(90)]}, ["only the first of 2 frames"]),
        "printer.tif": (image.convert("CMYK"), {}, ["converted from mode CMYK to RGB"]),
        "turned.png": (turned, {"exif": exif}, ["turned according to its orientation"]),
    }
    for name, (made, options, told) in cases.items():
        made.save(tmp_path / name, **options)
        found = read_picture(str(tmp_path / name))
        assert abs(found.pixels.astype(int) - scene).mean() < 3, name
        for each in told:
            assert any(each in line for line in found.converted), (name, found.converted)


def test_what_cannot_be_converted_is_refused_in_a_line(scene: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(scene)
    image.save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    files = {
        "torn.png": whole[: len(whole) // 2],
        "header.png": whole[:20],
        "empty.png": b"",
        "text.png": b"a small red circle",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    image.resize((60, 40)).save(tmp_path / "wide.png")
    image.resize((20, 20)).save(tmp_path / "small.png")
    image.convert("L").save(tmp_path / "grey.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    cases = {
        "nowhere.png": "does not exist: give a picture file",
        ".": "is a folder: give a picture file",
        "torn.png": "cannot be read (",
        "header.png": "read",
        "empty.png": "is not a picture that Pillow can read",
        "text.png": "is not a picture that Pillow can read",
        "wide.png": "has 60 by 40 pixels: expected a square picture in colour",
        "small.png": "has 20 by 20 pixels: expected a square picture in colour, 40 by 40 pixels or larger",
        "grey.png": "has no colours (mode L of Pillow)",
        "huge.png": "has 9000 by 9000 pixels",
    }
    for name, message in cases.items():
        with pytest.raises(ExperimentError) as raised:
            read_picture(str(tmp_path / name))
        assert message in str(raised.value), (name, str(raised.value))
        assert len(str(raised.value).splitlines()) == 1
