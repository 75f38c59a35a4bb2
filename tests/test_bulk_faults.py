"""Bulk jobs where things go wrong: no wrong success, nothing lost, no truncated file, one line that says why."""

import codecs
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_bulk import QUICK, TEXTS, manifest, sounds
from test_files import full_disk

import bark_jax
from bark_jax import options
from bark_jax.__main__ import main
from bark_jax.bulk import locks, tasks
from bark_jax.bulk import run as bulk
from bark_jax.bulk.manifest import FIELDS, to_json
from bark_jax.bulk.tasks import sha256

WAVS = [f"00000{number}.wav" for number in range(1, 6)]


@pytest.fixture(scope="module")
def bark(checkpoint):
    return bark_jax.load(checkpoint, dtype="float32")


@pytest.fixture
def batch(folder, bark, monkeypatch):
    """Run the command on lines.txt, or other arguments, with the checkpoint at hand."""
    monkeypatch.setattr(bark_jax, "load", lambda *_, **__: bark)
    Path("lines.txt").write_text("\n".join(TEXTS))
    flags = ["--max-seconds", "0.3", "--batch-size", "2", "--no-progress", "-o", "out"]
    return lambda *arguments: main(["batch", *(arguments or ["lines.txt"]), *flags])


@pytest.fixture
def writing(monkeypatch):
    """Call a function before the nth WAV of a job is written."""
    write, written = bulk.write_file, []

    def when(number, function):
        def count(path, content, *, force=False):
            written.append(path)
            if len(written) == number:
                function()
            write(path, content, force=force)

        monkeypatch.setattr(bulk, "write_file", count)

    return when


def error(capsys) -> str:
    """Return the last message, which is one line, and that of an error."""
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("bark-jax: error: ")
    return line.removeprefix("bark-jax: error: ")


# What is missing at the end


def test_a_folder_that_is_removed_is_not_made_again(batch, writing, capsys):
    writing(3, lambda: shutil.rmtree("out"))
    assert batch() == 1
    assert error(capsys) == "out was removed during the job: run the job again"
    assert not Path("out").exists()
    assert batch() == 0


def test_files_that_are_removed_are_missed_at_the_end(batch, writing, capsys):
    writing(4, Path("out", WAVS[1]).unlink)
    assert batch() == 1
    assert error(capsys) == "out lacks 1 of 5 files, such as 000002.wav: run the job again"
    assert batch() == 0
    assert " 1 made, 4 done before, " in capsys.readouterr().out


def test_a_manifest_that_is_removed_is_missed_at_the_end(batch, writing, capsys):
    writing(5, Path("out", "manifest.jsonl").unlink)
    assert batch() == 1
    assert "out lacks 4 of 5 files, such as " in error(capsys)


@pytest.mark.parametrize("size", [0, 1, 43, 44, 45, 400, 1000, 10_000])
def test_a_full_disk_stops_a_job_that_is_then_resumed(bark, folder, size):
    """Whatever the size of the file that does not fit; a manifest outgrows all WAVs but the limit of one."""
    bulk.run(bark, TEXTS, "whole", **QUICK)
    whole = sounds("whole")
    with full_disk(size), contextlib.suppress(bulk.Incomplete):
        bulk.run(bark, TEXTS, "out", **QUICK)
    assert all(whole[name] == content for name, content in sounds("out").items())
    assert not [name for name in os.listdir("out") if name.startswith(".")]
    bulk.run(bark, TEXTS, "out", **QUICK)
    assert sounds("out") == whole


def test_a_full_disk_is_one_line(batch, capsys):
    assert batch() == 0
    os.unlink("out/000003.wav")
    capsys.readouterr()
    with full_disk(1500):
        assert batch() == 1
    line = error(capsys)
    assert "out/" in line
    assert "File too large, 4 of 5 lines are done: the same command goes on" in line


# One job at a time


def test_a_second_job_in_a_folder_is_refused(bark, batch, writing, capsys):
    """At every moment of the first, and it is not disturbed."""
    bulk.run(bark, TEXTS, "whole", **QUICK)
    codes = []
    writing(1, lambda: codes.append(batch()))
    assert batch() == 0
    assert codes == [2]
    assert (
        "error: out is in use by another job: wait for it to end, or choose another folder" in capsys.readouterr().err
    )
    assert sounds("out") == sounds("whole")
    assert not Path("out/.lock").exists()


def test_a_lock_ends_with_its_process(batch):
    code = "import sys, time\nfrom pathlib import Path\nfrom bark_jax.bulk.locks import job_lock\n"
    code += "with job_lock(Path('out'), (0, 1)):\n    print('held', flush=True)\n    time.sleep(600)"
    os.mkdir("out")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert batch() == 2
        process.kill()
    assert Path("out/.lock").exists()
    assert batch() == 0
    assert not Path("out/.lock").exists()


def test_shares_run_beside_each_other_and_nothing_else(folder):
    os.mkdir("out")
    out, busy = Path("out"), pytest.raises(ValueError, match="in use by")
    with locks.job_lock(out, (0, 3)):
        with locks.job_lock(out, (1, 3)):
            assert sorted(os.listdir("out")) == [".lock", ".lock.1-of-3", ".lock.2-of-3"]
        for share in ((0, 1), (0, 3), (1, 2)):
            with busy, locks.job_lock(out, share):
                pytest.fail("entered")
        assert sorted(os.listdir("out")) == [".lock", ".lock.1-of-3"]
    with locks.job_lock(out, (0, 1)), busy, locks.job_lock(out, (2, 3)):
        pytest.fail("entered")
    Path("out/.lock.4-of-7").touch()  # of a killed process
    with locks.job_lock(out, (2, 3)):
        pass
    assert os.listdir("out") == []


def test_a_share_removes_what_a_killed_one_left(bark, folder):
    """But not what another one may be writing: its WAVs, and the files of all."""
    os.mkdir("out")
    for name in [*WAVS[:2], "manifest.jsonl", "job.json"]:
        Path("out", f".{name}.0a1b2c3d").write_text("half")
    bulk.run(bark, TEXTS[:2], "out", share=(0, 2), **QUICK | {"batch_size": 1})  # the longer one, line 2
    left = [name for name in sorted(os.listdir("out")) if name.startswith(".")]
    assert left == [".000001.wav.0a1b2c3d", ".job.json.0a1b2c3d", ".manifest.jsonl.0a1b2c3d"]
    bulk.run(bark, TEXTS[:2], "out", **QUICK | {"batch_size": 1})
    assert not [name for name in os.listdir("out") if name.startswith(".")]


@pytest.mark.parametrize("share", ["", "0/2", "3/2", "1", "1/2/3", "a/b", "-1/2", "1/0", "1.0/2"])
def test_what_is_no_share_is_refused(share, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["batch", "lines.txt", "-o", "out", f"--share={share}"])
    assert f"the share is {share!r}, it must be I/N with I from 1 to N, such as 3/8" in capsys.readouterr().err


# Damaged files


def test_a_format_of_records_that_nothing_writes_is_refused(batch, capsys):
    assert batch("lines.txt", "--records", "parquet") == 2
    assert (
        capsys.readouterr().err
        == "bark-jax: error: --records parquet goes with --ray alone: add --ray, or leave it out\n"
    )


def test_the_order_of_records_is_that_of_the_file(bark, folder, monkeypatch):
    """Whatever the clock says: here it goes back."""
    clock = iter(range(10**6, 0, -1))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    bulk.run(bark, ["One", "Two"], "out", **QUICK)
    assert bulk.run(bark, ["One", "2"], "out", **QUICK).made == 1
    assert bulk.run(bark, ["One", "2"], "out", **QUICK).made == 0
    assert [record["text"] for record in manifest()] == ["One", "2"]


WRONG = {int: "1", str: 1, float: [], dict: 7, type(None): False}
DAMAGED = {
    "torn": b'{"id": "000002", "te',
    "empty": b"",
    "no object": b"[1, 2]",
    "a number": b"7",
    "no id": b'{"line": 2}',
    "deep": b"[" * 100_000,
    "long number": b'{"id": "x", "line": ' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"id": "\xff"}',
    "NUL": b"\0\0\0",
    **{f"{name} of another type": name for name in FIELDS},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_records_are_skipped_and_said(bark, folder, capsys, kind):
    """Their lines are made again; the other lines are kept."""
    bulk.run(bark, TEXTS, "out", **QUICK)
    lines = Path("out/manifest.jsonl").read_bytes().splitlines()
    damage = DAMAGED[kind]
    if isinstance(damage, str):
        damage = json.dumps(json.loads(lines[1]) | {damage: WRONG[FIELDS[damage][-1]]}).encode()
    whole = sounds()
    lines[1] = damage
    Path("out/manifest.jsonl").write_bytes(b"\n".join(lines))
    done = bulk.run(bark, TEXTS, "out", **QUICK)
    assert (done.made, done.kept) == (1, 4)
    assert "out/manifest.jsonl: 1 damaged records are skipped, the first in line 2" in capsys.readouterr().err
    assert sounds() == whole
    assert [record["line"] for record in manifest()] == [1, 2, 3, 4, 5]


def test_an_option_that_is_new_and_off_makes_nothing_anew(bark):
    settings, fingerprint = tasks.check_settings(bark, options.complete({}))
    assert settings.pop("top_k") is None  # as before there was such an option
    assert sha256(to_json({name: value for name, value in settings.items() if value is not None})) == fingerprint
    assert tasks.check_settings(bark, options.complete({"top_k": 5}))[1] != fingerprint


@pytest.mark.parametrize("content", ["", "[]", "7", '{"settings": 3}', '{"settings": [', "[" * 100_000, "\0", "{}"])
def test_damaged_settings_are_said_and_written_anew(bark, folder, capsys, content):
    bulk.run(bark, TEXTS[:2], "out", **QUICK)
    whole = Path("out/job.json").read_bytes()
    Path("out/job.json").write_text(content)
    assert bulk.run(bark, TEXTS[:2], "out", **QUICK).kept == 2
    assert "out/job.json is damaged, and is written anew" in capsys.readouterr().err
    assert Path("out/job.json").read_bytes() == whole
    Path("out/job.json").write_text(content)
    with pytest.raises(ValueError, match="out holds 2 of these lines made with other settings: keep to those"):
        bulk.run(bark, TEXTS[:2], "out", top_k=3, **QUICK)


@pytest.mark.parametrize("name", ["manifest.jsonl", "job.json"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_file_is_refused(bark, folder, name, kind):
    """Nothing is written through a link, and a pipe does not hang."""
    Path("elsewhere").write_text("mine")
    path = Path("out", name)
    path.parent.mkdir()
    make = {"pipe": os.mkfifo, "folder": os.mkdir}
    make.get(kind, lambda path: path.symlink_to("../elsewhere" if kind == "link" else "../nowhere"))(path)
    with pytest.raises(OSError, match=name):
        bulk.run(bark, TEXTS[:1], "out", **QUICK)
    assert os.listdir("out") == [name]
    assert Path("elsewhere").read_text() == "mine"
    assert not Path("nowhere").exists()


def test_a_link_in_the_place_of_a_wav_is_replaced(bark, folder):
    bulk.run(bark, TEXTS[:1], "out", **QUICK)
    Path("elsewhere").write_text("mine")
    Path("out/000001.wav").unlink()
    Path("out/000001.wav").symlink_to("../elsewhere")
    assert bulk.run(bark, TEXTS[:1], "out", **QUICK).made == 1
    assert Path("elsewhere").read_text() == "mine"
    assert not Path("out/000001.wav").is_symlink()


# What is read


TEXT = "One\r\n\r\n größer {}\n"
ENCODINGS = {
    "utf-8": TEXT.encode(),
    "utf-8-sig": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-le": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16-be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32-le": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
    "utf-32-be": codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_decoded_by_its_byte_order_mark(folder, encoding):
    Path("lines.txt").write_bytes(ENCODINGS[encoding])
    assert [(line.number, line.text, line.error) for line in bulk.read_lines("lines.txt")] == [
        (1, "One", None),
        (3, " größer {}", None),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "One\nTwo".encode("utf-16-le"),
            "lines.txt has a NUL character in line 1, which text has not: save it as UTF-8",
        ),
        (b"One\nTw\0o\n", "lines.txt has a NUL character in line 2"),
        (codecs.BOM_UTF16_LE + b"odd", "lines.txt begins as UTF-16 and is not: "),
        (codecs.BOM_UTF16_LE + b"\x00\xd8", "lines.txt begins as UTF-16 and is not: "),
        (codecs.BOM_UTF16_LE + b"\n\x00", "lines.txt has no text: write one on each line"),
    ],
)
def test_what_is_not_text_is_refused(batch, capsys, content, message):
    Path("lines.txt").write_bytes(content)
    assert batch() == 2
    assert message in error(capsys)
    assert not Path("out").exists()


@pytest.mark.parametrize("content", ['\n{"text": "moon", "id": "a"}\n{"text": "egg", "id": "b"}\n', "moon\negg\n"])
def test_lines_come_from_standard_input(batch, monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert batch("-") == 0
    assert [record["text"] for record in manifest()] == ["moon", "egg"]
    assert sounds().keys() == ({"a.wav", "b.wav"} if "{" in content else {"000001.wav", "000002.wav"})


def test_no_advice_that_a_job_cannot_follow(batch, capsys):
    Path("lines.txt").write_text("a " * 17)
    assert batch() == 1
    shown = capsys.readouterr().err
    assert "line 1: text has 17 tokens, Bark reads 16: cut it into several lines. It begins 'a a" in shown
    assert "long" not in shown


def test_no_line_commands_the_terminal(batch, capsys):
    """Escapes, of colours and cursors and titles, are shown and not sent."""
    evil = "\x1b]0;owned\x07\x9b31m\u202e\r"
    bad = [{"text": "a", "id": evil}, {"text": "a", evil: 1}, {"text": "a", "voice": evil}, {"text": "a", "seed": evil}]
    Path("lines.jsonl").write_text("\n".join(map(json.dumps, [*bad, {"text": f"{evil} " * 20}])))
    assert batch("lines.jsonl") == 1
    shown = capsys.readouterr()
    assert shown.err.count("line ") >= 5
    assert not {letter for letter in evil if not letter.isprintable()} & set(shown.err + shown.out)
