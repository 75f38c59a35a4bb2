"""Units of phones: they name what is spoken, and how high for the speaker, and nothing else."""

import json

import numpy as np
import pytest

from bark_jax.train import data, phones
from bark_jax.train.phones import Inventory, Phones


def spoken(speaker: str, hz: float) -> Phones:
    """Say "sɑ" in 0.3 s after 0.1 s of silence; the pitch rises by a half, and there is none in the s."""
    pitch = np.concatenate([np.zeros(10), hz * np.linspace(1, 1.5, 10)])
    return Phones("Sah", speaker, ["", "s", "ɑ"], np.array([0.1, 0.2, 0.4]), pitch)


def test_units_name_phone_third_and_pitch():
    said = spoken("a", 100)
    inventory = Inventory.of([said])
    assert inventory.names == [
        "silence", "s 1/3", "s 2/3", "s 3/3", *(f"ɑ {i}/3 at {k}/4" for i in (1, 2, 3) for k in (1, 2, 3, 4))
    ]  # fmt: skip
    named = [inventory.names[unit] for unit in inventory.units(said)]
    assert named[:10] == ["silence"] * 5 + ["s 1/3", "s 1/3", "s 2/3", "s 3/3", "s 3/3"]
    places = zip([1, 1, 1, 2, 2, 2, 2, 3, 3, 3], [1, 1, 1, 2, 2, 3, 3, 4, 4, 4])
    assert named[10:] == [f"ɑ {third}/3 at {level}/4" for third, level in places]


def test_a_voiceless_phone_has_no_level():
    """However high the vowel before it is, an s is an s."""
    said = Phones(
        "Ass", "a", ["ɑ", "s"], np.array([0.2, 0.32]), np.concatenate([np.linspace(100, 200, 10), np.zeros(6)])
    )
    inventory = Inventory.of([said])
    names = [inventory.names[unit] for unit in inventory.units(said)]
    assert names[9:] == ["ɑ 3/3 at 4/4", "s 1/3", "s 1/3", "s 2/3", "s 2/3", "s 3/3", "s 3/3"]


def test_phones_are_moved():
    moved = spoken("a", 100).moved(2.0, 0.02)
    np.testing.assert_allclose(moved.ends_s, [0.07, 0.12, 0.22])
    np.testing.assert_array_equal(moved.pitch_hz, spoken("a", 100).pitch_hz[[0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]])


def test_units_leave_the_speaker_out():
    low, high = spoken("a", 100), spoken("b", 200)
    inventory = Inventory.of([low, high])
    np.testing.assert_array_equal(inventory.units(low), inventory.units(high))


def test_a_pitch_goes_on_where_there_is_none():
    said = Phones("Ah", "a", ["ɑ"], np.array([0.1]), np.array([0.0, 100.0, 0.0, 200.0, 0.0]))
    np.testing.assert_array_equal(said.steady_pitch_hz, [100, 100, 150, 200, 200])
    whispered = Phones("Ah", "a", ["ɑ"], np.array([0.1]), np.zeros(5))
    assert set(Inventory.of([whispered]).units(whispered)) == {1, 5, 9}


def test_a_copy_says_the_same_at_its_own_speed(tmp_path):
    """As fast as its sound: where a recording is loud, its copy is, and the units say so of both."""
    rate, n = 24_000, 36_000
    x = np.zeros(n, np.int16)
    x[n // 3 : 2 * n // 3] = 9_000
    np.save(tmp_path / data.SAMPLES, x)
    content = {"sample_rate": rate, "texts": ["Ah"], "lengths": [n]}
    (tmp_path / data.RECORDINGS).write_text(json.dumps(content))
    said = Phones("Ah", "", ["", "ɑ", ""], np.array([0.5, 1.0, 1.5]), np.linspace(100, 200, 75))
    recordings = data.Recordings.open(tmp_path)
    every = [said, spoken("a", 100)]
    inventory = Inventory.of(every)
    (units,) = phones.name_units(inventory, every, recordings)
    assert len(units) == 75
    for number in (1, 2, 3):
        copy = data.PerturbedCopy(recordings, number)
        (moved,) = phones.name_units(inventory, every, copy)
        assert abs(len(moved) - len(copy[0]) * 50 // rate) <= 1
        loud = np.abs(copy[0]) > 0.1
        middles = ((np.arange(len(moved)) + 0.5) * rate / 50).astype(int)
        assert np.mean((moved > 0) == loud[middles]) > 0.95
        assert set(moved) <= set(units)  # the same thirds and levels of pitch


def test_a_recording_that_goes_on_after_its_phones_stays_in_the_last():
    said = Phones("Ah", "a", ["ɑ", ""], np.array([0.04, 0.06]), np.full(6, 100.0))
    assert Inventory.of([said]).units(said).tolist()[2:] == [0, 0, 0, 0]


def test_files_become_one_in_the_order_of_the_recordings(tmp_path):
    (tmp_path / "phones").mkdir()
    every = {name: spoken(name, 100) for name in ("1", "2", "3")}
    for name, said in every.items():
        (tmp_path / "phones" / f"{name}.json").write_bytes(said.to_json())
    (tmp_path / "metadata.csv").write_text("3|Sah\n1|Sah\n")
    phones.prepare(tmp_path, tmp_path / "prepared")
    found = phones.open_prepared(tmp_path / "prepared")
    assert [each.speaker for each in found] == ["3", "1", "2"]
    for each in found:
        wanted = every[each.speaker]
        assert (each.text, each.phones) == (wanted.text, wanted.phones)
        np.testing.assert_allclose(each.ends_s, wanted.ends_s, atol=1e-3)
        np.testing.assert_allclose(each.pitch_hz, wanted.pitch_hz, atol=0.5)
    (tmp_path / "metadata.csv").write_text("3|Sah\n4|Sah\n")
    with pytest.raises(ValueError, match=r"phones has no 4\.json: give phones to all recordings or to none"):
        phones.prepare(tmp_path, tmp_path / "prepared")


def test_a_damaged_line_is_named_and_odd_separators_are_no_ends_of_lines(tmp_path):
    said = Phones("Ah\u2028\x85", "a", ["ɑ"], np.array([0.1]), np.full(5, 100.0))
    path = tmp_path / phones.PREPARED
    path.write_bytes(2 * said.to_json())
    assert [each.text for each in phones.open_prepared(tmp_path)] == 2 * [said.text]
    for damage in (said.to_json()[:-20], b"5", b"[" * 100_000, b"\xff"):
        path.write_bytes(said.to_json() + damage + b"\n")
        with pytest.raises(ValueError, match=r"^line 2 of .*phones\.jsonl is damaged"):
            phones.open_prepared(tmp_path)


def test_without_phones_there_is_nothing(tmp_path):
    phones.prepare(tmp_path, tmp_path / "prepared")
    assert phones.open_prepared(tmp_path / "prepared") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phones", None), ("phones", []), ("phones", ["s"]), ("phones", "sɑɑ"), ("phones", ["", 1, "ɑ"]), ("text", 5),
        ("ends_s", [0.2, 0.1, 0.3]), ("ends_s", [-1, 0.1, 0.3]), ("ends_s", ["a", 0.1, 0.3]), ("ends_s", [[0.1], 1, 2]),
        ("ends_s", [0.1, 0.2, float("nan")]), ("pitch_hz", [-1.0]), ("pitch_hz", [float("inf")]), ("pitch_hz", 5),
    ],
)  # fmt: skip
def test_what_holds_no_phones_is_named(name, value):
    content = json.loads(spoken("a", 100).to_json())
    with pytest.raises(ValueError, match=r"^a\.json holds no phones"):
        phones.parse(content | {name: value}, "a.json")
    with pytest.raises(ValueError, match=r"^a\.json holds no phones"):
        phones.parse({key: x for key, x in content.items() if key != name}, "a.json")
    with pytest.raises(ValueError, match=r"^a\.json holds no phones"):
        phones.parse([content], "a.json")
