"""Bulk jobs: every line its WAV, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

import bark_jax
from bark_jax.__main__ import main
from bark_jax.bulk import run as bulk

QUICK = {"max_seconds": 0.3, "batch_size": 2, "progress": False}
FLAGS = ["--max-seconds", "0.3", "--batch-size", "2", "--no-progress"]
TEXTS = ["a", "the little egg on a light leaf", "the moon ...", "me", "the little moon and egg"]  # 1, 8, 5, 2, 7 ids


@pytest.fixture(scope="module")
def bark(checkpoint):
    return bark_jax.load(checkpoint, dtype="float32")


@pytest.fixture
def batch(folder, checkpoint):
    """Run the command on lines.txt, or another file."""
    flags = ["--checkpoint", checkpoint, "--dtype", "float32", *FLAGS]
    return lambda output="out", lines="lines.txt": main(["batch", lines, "-o", output, *flags])


@pytest.fixture
def spoken(monkeypatch):
    """List the texts that are spoken from here on, batch by batch."""
    batches, generate = [], bark_jax.Bark.generate

    def listen(self, text, **options):
        batches.extend([text] if text else [])
        return generate(self, text, **options)

    monkeypatch.setattr(bark_jax.Bark, "generate", listen)
    return batches


def manifest(folder="out"):
    return [json.loads(line) for line in Path(folder, "manifest.jsonl").read_bytes().splitlines()]


def sounds(folder="out"):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.wav")}


def times(folder="out"):
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("*.wav")}


def test_every_line_is_what_it_would_be_alone(bark, checkpoint, folder):
    me = bark.generate("me", max_seconds=0.5, progress=False).voice()
    me.save("me.npz")
    lines = [{"text": text, "seed": i, "id": f"line-{i}"} for i, text in enumerate(TEXTS[:4])]
    lines[1]["voice"] = "me.npz"
    done = bulk.run(bark, [*lines, TEXTS[4]], "out", seed=9, **QUICK)
    assert (done.made, done.kept, done.failed) == (5, 0, {})
    assert sorted(os.listdir("out")) == [
        "000005.wav",
        "job.json",
        *(f"line-{i}.wav" for i in range(4)),
        "manifest.jsonl",
    ]
    for number, record in enumerate(manifest(), 1):
        text, seed, voice = TEXTS[number - 1], [0, 1, 2, 3, 9][number - 1], me if number == 2 else None
        how = {"max_seconds": 0.3, "progress": False}
        twice = bark.generate([text] * 2, voice=voice, seed=seed, **how)
        twice[0].save("alone.wav", force=True)
        assert Path("out", record["file"]).read_bytes() == Path("alone.wav").read_bytes()
        alone = bark.generate(text, voice=voice, seed=seed, **how)
        np.testing.assert_array_equal(alone.fine, twice[0].fine)
        assert record["voice"] == ("me.npz" if voice else None)
        assert [record[name] for name in ("line", "text", "seed")] == [number, text, seed]
        assert record["samples"] == len(alone.samples) == soundfile.info(f"out/{record['file']}").frames
        assert (record["semantic_tokens"], record["frames"]) == (len(alone.semantic), alone.fine.shape[1])
        assert record["batch"]["rows"] == 2
        assert record["batch"]["seconds"].keys() == {"semantic", "coarse", "fine", "codec"}
    settings = json.loads(Path("out/job.json").read_bytes())
    assert {record["settings"] for record in manifest()} == {settings["fingerprint"]}
    assert settings["settings"] == {
        "checkpoint": checkpoint,
        "dtype": "float32",
        "semantic_temperature": 0.7,
        "coarse_temperature": 0.7,
        "fine_temperature": 0.5,
        "top_k": None,
        "top_p": None,
        "min_eos_p": 0.2,
        "max_seconds": 0.3,
    }


def test_batches_are_of_like_length_and_one_size_and_compile_nothing_new(bark, folder, spoken, compilations):
    bulk.run(bark, TEXTS, "out", **QUICK)
    assert spoken == [[TEXTS[1], TEXTS[4]], [TEXTS[2], TEXTS[3]], [TEXTS[0]] * 2]
    compilations.clear()
    bulk.run(bark, TEXTS[:3], "other", **QUICK, semantic_temperature=0.9, top_k=20)
    assert compilations == []
    spoken.clear()
    bulk.run(bark, TEXTS[:2], "few", **QUICK | {"batch_size": 32})
    assert spoken == [[TEXTS[1], TEXTS[0]]]


def test_a_killed_job_goes_on_to_the_same_files(batch, checkpoint):
    Path("lines.txt").write_text("\n".join(f"the {'moon ' * (i % 5)}{i}" for i in range(40)))
    command = [sys.executable, "-m", "bark_jax", "batch", "lines.txt", "-o", "out", *FLAGS]
    command += ["--checkpoint", checkpoint, "--dtype", "float32"]
    environment = os.environ | {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}  # as here
    with subprocess.Popen(command, env=environment) as process:
        while not (Path("out/manifest.jsonl").exists() and Path("out/manifest.jsonl").stat().st_size):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = times()
    finished = {record["file"] for record in manifest()}
    assert 0 < len(finished) < 40
    Path("out/.000003.wav.abc_def1").write_text("half a file")
    with open("out/manifest.jsonl", "ab") as file:
        file.write(b'{"id": "000039", "text": "torn')
    assert batch("out") == batch("whole") == 0
    assert sounds("out") == sounds("whole")
    assert len(sounds("out")) == 40
    after = times()
    assert all(before[name] == after[name] for name in finished)
    assert [record["line"] for record in manifest()] == list(range(1, 41))
    assert not [name for name in os.listdir("out") if name.startswith(".")]


def test_only_what_is_missing_is_made(bark, folder, spoken):
    bulk.run(bark, TEXTS, "out", **QUICK)
    first, before = sounds(), times()
    spoken.clear()
    assert bulk.run(bark, TEXTS, "out", **QUICK).kept == 5
    assert spoken == []
    Path("out/000002.wav").unlink()  # rows of two batches: one batch makes both
    Path("out/000004.wav").write_bytes(first["000004.wav"][:-2])
    done = bulk.run(bark, TEXTS, "out", **QUICK)
    assert (done.made, done.kept) == (2, 3)
    assert spoken == [[TEXTS[1], TEXTS[3]]]
    assert sounds() == first
    assert {name for name in before if times()[name] == before[name]} == {"000001.wav", "000003.wav", "000005.wav"}


def test_a_line_that_changes_is_made_again_even_if_it_changes_back(bark, folder, spoken, monkeypatch, capsys):
    bulk.run(bark, ["One", "Two", "Three"], "out", **QUICK)
    first, before = sounds(), times()
    append = bulk.append_records
    with monkeypatch.context() as killed:  # before the record of the new WAV
        killed.setattr(
            bulk, "append_records", lambda folder, records: "text" not in records[0] and append(folder, records)
        )
        with pytest.raises(bulk.Incomplete, match=r"lacks 1 of 3 files, such as 000002.wav"):
            bulk.run(bark, ["One", "the moon", "Three"], "out", **QUICK)
    assert "made again, for they have changed: 1 of 3 lines, the first is line 2" in capsys.readouterr().err
    assert sounds()["000002.wav"] != first["000002.wav"]
    assert len(sounds()["000002.wav"]) == len(first["000002.wav"])
    bulk.run(bark, ["One", "Two", "Three"], "out", **QUICK)
    assert sounds() == first
    assert {name for name in before if times()[name] == before[name]} == {"000001.wav", "000003.wav"}
    bulk.run(bark, ["One"], "out", **QUICK)
    assert sorted(record["text"] for record in manifest()) == ["One", "Three", "Two"]  # no WAV loses its record


def test_a_voice_file_that_changes_is_another_voice(bark, folder):
    for seed, made in ((1, 1), (1, 0), (2, 1)):
        bark.generate("me", seed=seed, max_seconds=0.5, progress=False).voice().save("me.npz", force=True)
        assert bulk.run(bark, [{"text": "One", "voice": "me.npz"}], "out", **QUICK).made == made


def test_other_settings_are_refused_or_made_anew(bark, folder):
    bulk.run(bark, TEXTS[:2], "out", **QUICK)
    first = sounds()
    with pytest.raises(ValueError, match=r"out holds 2 .* \(top_k None, now 5.0; coarse_temperature 0.7, now 0.9\)"):
        bulk.run(bark, TEXTS[:2], "out", coarse_temperature=0.9, top_k=5, **QUICK)
    assert sounds() == first
    done = bulk.run(bark, TEXTS[:2], "out", coarse_temperature=0.9, top_k=5, force=True, **QUICK)
    assert done.made == 2
    assert sounds() != first
    assert bulk.run(bark, TEXTS[:2], "out", coarse_temperature=0.9, top_k=5, **QUICK).kept == 2


def test_wavs_of_other_origin_are_kept_unless_forced(bark, folder):
    Path("out").mkdir()
    Path("out/000002.wav").write_text("mine")
    with pytest.raises(FileExistsError, match=r"000002.wav exists and is kept"):
        bulk.run(bark, TEXTS[:2], "out", **QUICK)
    assert os.listdir("out") == ["000002.wav"]
    bulk.run(bark, TEXTS[:2], "out", force=True, **QUICK)
    assert soundfile.info("out/000002.wav").frames > 0


def test_bad_lines_are_reported_and_the_rest_goes_on(batch, capsys):
    good = '{"text": "Hello", "id": "a.b-1", "seed": 3, "voice": "announcer"}'
    bad = {
        "text is empty or only white space": '{"text": " "}',
        "text has 17 tokens, Bark reads 16": json.dumps({"text": "a " * 17}),
        "text is None, it must be a string": '{"id": "x"}',
        "text is not valid Unicode": r'{"text": "\ud800"}',
        "no voice 'nobody'": '{"text": "Hello", "voice": "nobody"}',
        "voice 'nobody.npz': there is no voice file": '{"text": "Hello", "voice": "nobody.npz"}',
        "seed is -1, it must be": '{"text": "Hello", "seed": -1}',
        "it is not JSON: Expecting value at character 10": '{"text": ',
        "it is not JSON: maximum recursion": "[" * 200_000,
        "it is a list, not an object": '["Hello"]',
        "unknown key speaker: a line has text, voice, seed, id": '{"text": "Hello", "speaker": "me"}',
        "id 'A.b-1' is taken by line 1": '{"text": "Hello", "id": "A.b-1"}',
        "id is '../up', it must be a string": '{"text": "Hello", "id": "../up"}',
        "id is 7, it must be a string": '{"text": "Hello", "id": 7}',
        "id is '.a', it must be a string": '{"text": "Hello", "id": ".a"}',
    }
    lines = [good, "", *bad.values(), good.replace("a.b-1", "z")]
    Path("lines.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    assert batch(lines="lines.jsonl") == 1
    shown = capsys.readouterr()
    assert f"out: of {len(bad) + 3} lines 2 made, 0 done before, {len(bad) + 1} failed; " in shown.out
    records = {record["line"]: record for record in manifest()}
    assert list(records) == [1, *range(3, len(lines) + 2)]
    for number, message in enumerate([*bad, "", "it is not UTF-8 text"], 3):
        if message:
            assert message in records[number]["error"]
            assert f"line {number}: {message}" in shown.err
    assert sounds().keys() == {"a.b-1.wav", "z.wav"}
    assert batch(lines="lines.jsonl") == 1
    assert " 0 made, 2 done before, " in capsys.readouterr().out


def test_lines_of_text_keep_their_numbers(folder):
    Path("lines.txt").write_bytes("\ufeffOne\r\n\r\n Zwei\u2028größer {}\n".encode())
    lines = bulk.read_lines("lines.txt")
    assert [(line.number, line.text, line.id) for line in lines] == [
        (1, "One", "000001"),
        (3, " Zwei\u2028größer {}", "000003"),
    ]


def test_shares_make_together_what_one_makes(bark, folder, spoken):
    lines = [*TEXTS, "", "moon"]
    bulk.run(bark, lines, "one", **QUICK)
    spoken.clear()
    first = bulk.run(bark, lines, "out", share=(0, 2), **QUICK)
    assert {record["line"] for record in manifest()} == {1, 2, 5, 7}
    second = bulk.run(bark, lines, "out", share=(1, 2), **QUICK)
    assert (first.made, second.made) == (4, 2)
    assert (first.failed.keys(), second.failed.keys()) == ({6}, set())
    assert len(spoken) == 3
    assert sounds("out") == sounds("one")
    assert sorted(path.name for path in Path("out").glob("*.json*")) == ["job.json", "manifest.jsonl"]
    for ours, theirs in zip(manifest("out"), manifest("one"), strict=True):
        own = {"batch", "finished"}
        assert {name: ours[name] for name in ours.keys() - own} == {name: theirs[name] for name in theirs.keys() - own}


def test_another_number_of_shares_goes_on(bark, folder):
    bulk.run(bark, TEXTS, "out", share=(1, 3), **QUICK)
    made = [bulk.run(bark, TEXTS, "out", share=(index, 2), **QUICK).made for index in range(2)]
    assert made == [3, 0]
    assert [record["line"] for record in manifest()] == [1, 2, 3, 4, 5]
    assert [path.name for path in Path("out").glob("manifest*")] == ["manifest.jsonl"]


def test_ctrl_c_ends_between_files(batch, capsys, monkeypatch):
    Path("lines.txt").write_text("\n".join(TEXTS))
    write = bulk.write_file

    def interrupted(path, content, *, force=False):
        if Path(path).name == "000004.wav":  # the second of the second batch
            raise KeyboardInterrupt
        write(path, content, force=force)

    with monkeypatch.context() as patched:
        patched.setattr(bulk, "write_file", interrupted)
        assert batch() == 130
    assert "interrupted, 3 of 5 lines are done: the same command goes on" in capsys.readouterr().err
    assert {record["line"] for record in manifest()} == {2, 3, 5}
    assert sounds().keys() == {"000002.wav", "000003.wav", "000005.wav"}
    assert batch() == 0
    assert "out: of 5 lines 2 made, 3 done before, 0 failed; " in capsys.readouterr().out


def test_a_line_without_sound_is_done_and_says_so(bark, folder, capsys):
    assert bulk.run(bark, ["Hello", "there"], "out", min_eos_p=1e-9, **QUICK).made == 2
    assert "line 2: no sound, the model ended it before its first token" in capsys.readouterr().err
    assert [record["seconds"] for record in manifest()] == [0, 0]
    assert soundfile.info("out/000001.wav").frames == 0
    assert bulk.run(bark, ["Hello", "there"], "out", min_eos_p=1e-9, **QUICK).kept == 2


def test_progress_tells_lines_speed_and_time_left(bark, folder, capsys):
    bulk.run(bark, TEXTS[:2], "out", **QUICK | {"progress": True})
    shown = capsys.readouterr().err
    assert "0/2 lines   0%|" in shown
    assert "fine 1/1" in shown
    assert "2/2 lines 100%|" in shown
    assert " s of sound/s]" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, it must be a whole number from 1 on"),
        ({"share": (2, 2)}, r"share is \(2, 2\), it must be"),
        ({"max_seconds": 0}, "max_seconds is 0"),
        ({"fine_temperature": -1}, "fine_temperature is -1"),
        ({"voice": "nobody"}, "no voice 'nobody'"),
        ({"seed": 2**32}, "seed is 4294967296"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(bark, folder, options, message):
    with pytest.raises(ValueError, match=message):
        bulk.run(bark, TEXTS, "out", **QUICK | options)
    assert os.listdir() == []


def test_a_batch_too_large_for_the_memory_says_so(bark, folder, monkeypatch):
    def full(self, text, **options):
        if text:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")

    monkeypatch.setattr(bark_jax.Bark, "generate", full)
    with pytest.raises(ValueError, match="a batch of 2 rows does not fit into the memory: take a smaller batch size"):
        bulk.run(bark, TEXTS, "out", **QUICK)
