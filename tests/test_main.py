"""The command line, as a user types it."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import hf
import jax
import numpy as np
import pytest
import soundfile
from common import foreground
from flax import nnx

import bark_jax
from bark_jax import options
from bark_jax.__main__ import main
from bark_jax.cli.commands import parser
from bark_jax.pipeline import Speech

QUICK = ["--max-seconds", "0.2"]


def refused(capsys, *arguments):
    """Run a command that must fail, and return its one line."""
    assert main(arguments) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("bark-jax: error: ")
    return line.removeprefix("bark-jax: error: ")


def test_speak_writes_a_wav(folder, capsys):
    assert main(["speak", "Hello, my dog is cute.", "-o", "hello.wav", "--progress", *QUICK]) == 0
    shown = capsys.readouterr()
    samples, rate = soundfile.read("hello.wav")
    assert rate == 24_000
    assert np.abs(samples).max() > 0.01
    assert re.fullmatch(r"hello.wav: 0.\d\d s of sound, seed 0, made in seconds: semantic .*\n", shown.out)
    assert "semantic 100%" in shown.err
    assert os.listdir() == ["hello.wav"]


def test_speak_computes_what_generate_does(folder, checkpoint):
    bark = bark_jax.load(checkpoint, dtype="float32")
    options = {"seed": 5, "top_k": 9, "top_p": 0.9, "max_seconds": 0.3, "voice": "v2/en_speaker_6", "progress": False}
    speech = bark.generate("Hello", min_eos_p=None, semantic_temperature=1.1, coarse_temperature=0.8, **options)
    flags = ["--seed", "5", "--top-k", "9", "--top-p", "0.9", "--max-seconds", "0.3", "--voice", "v2/en_speaker_6"]
    flags += ["--min-eos-p", "off", "--semantic-temperature", "1.1", "--coarse-temperature", "0.8", "--no-progress"]
    assert (
        main(
            ["speak", "Hello", "--checkpoint", str(checkpoint), "--dtype", "float32", *flags, "--save-voice", "me.npz"]
        )
        == 0
    )
    assert bark_jax.voices.load_voice("me.npz", bark.tokens) == speech.voice()
    written, rate = soundfile.read("speech.wav")
    assert rate == bark.codec.cfg.sampling_rate
    np.testing.assert_allclose(written, np.clip(speech.samples, -1, 1), atol=1 / 32767)


def test_one_temperature_for_all_stages(folder, monkeypatch):
    seen = {}
    speak = bark_jax.Bark.generate
    monkeypatch.setattr(bark_jax.Bark, "generate", lambda self, text, **o: seen.update(o) or speak(self, text, **o))
    flags = ["--temperature", "0", "--coarse-temperature", "0.4"]
    assert main(["speak", "Hello", *flags, *QUICK]) == 0
    stages = ("semantic", "coarse", "fine")
    assert [seen[f"{stage}_temperature"] for stage in stages] == [0, 0.4, 0]


def test_speak_has_a_flag_for_each_argument_of_generate():
    import inspect

    read = set(inspect.signature(bark_jax.Bark.read).parameters) - {"self", "sampling"}
    flags = vars(parser().parse_args(["speak", "Hello"]))
    assert read | options.table().keys() <= flags.keys()


def test_a_file_of_text_becomes_one_wav(folder, capsys):
    (folder / "book.txt").write_text("\ufeffOne. Zwei, größer.\n\nThree", encoding="utf-8")
    flags = ["--max-seconds", "0.4", "--seed", "3", "--batch-size", "1", "--language", "de", "--progress"]
    assert main(["speak", "--file", "book.txt", "-o", "book.wav", "--save-voice", "me.npz", *flags]) == 0
    shown = capsys.readouterr()
    bark = bark_jax.load(dtype="float32")
    options = {"max_seconds": 0.4, "seed": 3, "batch_size": 1, "progress": False}
    whole = bark.read("One. Zwei, größer. Three", **options)
    samples, rate = soundfile.read("book.wav")
    assert rate == 24_000
    np.testing.assert_allclose(samples, np.clip(whole.samples, -1, 1), atol=1 / 32767)
    assert bark_jax.voices.load_voice("me.npz", bark.tokens) == whole.sentences[0].voice()
    assert sorted(os.listdir()) == ["book.txt", "book.wav", "me.npz"]
    assert re.fullmatch(r"book.wav: 1.\d\d s of sound, 3 sentences, seed 3, made in \d+\.\d s\n", shown.out)
    assert "sentence 100%" in shown.err


def test_long_form_by_flags_and_from_standard_input(folder, monkeypatch):
    seen = []
    stream = bark_jax.Bark.stream
    monkeypatch.setattr(
        bark_jax.Bark, "stream", lambda self, text, **o: seen.append((text, o)) or stream(self, text, **o)
    )
    flags = ["-o", "a.wav", "--force", "--no-progress", *QUICK]
    assert main(["speak", "One.", "--long-form", *flags]) == 0
    assert main(["speak", "One.", "--continue", *flags]) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Ein größerer Text.".encode())))
    assert main(["speak", "--file", "-", *flags]) == 0
    assert [(text, options["chain"]) for text, options in seen] == [
        ("One.", False),
        ("One.", True),
        ("Ein größerer Text.", False),
    ]


def test_a_text_too_long_for_once_is_spoken_in_long_form(folder, capsys):
    assert main(["speak", "hello, my dog is cute, " * 6, *QUICK]) == 0
    assert re.search(r"speech.wav: \d.\d\d s of sound, [2-9] sentences", capsys.readouterr().out)


def test_words_that_cannot_be_read_are_named(folder, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["speak", "Hello 東京, and 東京.", "--no-progress", *QUICK]) == 0
    line = (
        "bark-jax: warning: nano cannot read 東 (U+6771), 京 (U+4EAC) in 'Hello 東京, and 東京.': write it in words\n"
    )
    assert capsys.readouterr().err == line


def test_the_embedded_voices_are_listed(folder, capsys):
    assert main(["voices"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["voice", *(f"en_speaker_{i}" for i in range(8))]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (OSError(28, "No space left on device"), 2)])
def test_what_was_spoken_of_a_long_text_is_kept(folder, capsys, monkeypatch, error, code):
    stream = bark_jax.Bark.stream

    def broken(self, text, **options):
        for number, speech in enumerate(stream(self, text, **options)):
            if number == 2:
                kept = soundfile.info("book.partial.wav").duration  # a whole file at this moment too
                assert kept == pytest.approx(0.25 + 2 * speech.seconds)
                raise error
            yield speech

    monkeypatch.setattr(bark_jax.Bark, "stream", broken)
    command = ["speak", "One. Two. Three. Four.", "--long-form", "-o", "book.wav", "--batch-size", "1", *QUICK]
    assert main(command) == code
    assert capsys.readouterr().err.strip().endswith("book.partial.wav holds 2 of 4 sentences")
    assert os.listdir() == ["book.partial.wav"]
    assert "book.partial.wav exists and is kept" in refused(capsys, *command)


def test_files_that_exist_are_kept_unless_forced(folder, capsys):
    (folder / "hello.wav").write_text("mine")
    assert "hello.wav exists and is kept" in refused(capsys, "speak", "Hello", "-o", "hello.wav")
    assert (folder / "hello.wav").read_text() == "mine"
    assert main(["speak", "Hello", "-o", "hello.wav", "--force", *QUICK]) == 0
    assert soundfile.info("hello.wav").frames > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speak", ""], "text is empty"),
        (["speak", "Hello", "--long-form", "--batch-size", "0"], "batch_size is 0"),
        (["speak", "Hello", "--long-form", "--top-p", "0"], "top_p is 0.0"),
        (["speak", "Hello", "--temperature", "-1"], "semantic_temperature is -1.0"),
        (["speak", "Hello", "--top-p", "0"], "top_p is 0.0"),
        (["speak", "Hello", "--voice", "nobody"], "no voice 'nobody'"),
        (["speak", "Hello", "--voice", "broken.npz"], "broken.npz is broken or no NumPy file"),
        (["speak", "Hello", "-o", "hello.mp3"], "hello.mp3 does not name a .wav, .flac or .ogg file"),
        (["speak", "Hello", "-o", "."], "does not name a .wav, .flac or .ogg file"),
        (["speak", "Hello", "--save-voice", "me.txt"], "me.txt does not name a .npz file"),
        (["speak", "--file", "missing.txt"], "missing.txt: No such file"),
        (["speak", "--file", "empty.txt"], "empty.txt has no text"),
        (["speak", "--file", "broken.npz"], "broken.npz is not UTF-8"),
        (["speak", "Hello", "--checkpoint", "."], ". is no checkpoint: it has none of config.json"),
        (
            ["speak", "Hello", "--checkpoint", "no/where", "--offline"],
            "no/where cannot be found: tried the local cache",
        ),
        (["speak", "Hello", "--checkpoint", "nowhere"], "nowhere is no folder, and no hub name"),
        (["batch", "missing.txt", "-o", "out"], "missing.txt: No such file"),
        (["batch", "empty.txt", "-o", "out"], "empty.txt has no text"),
        (["batch", "line.txt", "-o", "out", "--batch-size", "0"], "batch_size is 0"),
        (["batch", "line.txt", "-o", "line.txt"], "line.txt: File exists"),
        (["info", "--checkpoint", "nowhere"], "nowhere is no folder"),
        (["convert", ".", "-o", "out"], ". is no checkpoint"),
    ],
    ids=str,
)
def test_bad_input_ends_with_one_clear_line(folder, capsys, arguments, message):
    (folder / "empty.txt").write_text("\n \n")
    (folder / "line.txt").write_text("Hello")
    (folder / "broken.npz").write_bytes(b"\xff nothing")
    before = sorted(os.listdir())
    assert message in refused(capsys, *arguments)
    assert sorted(os.listdir()) == before


def test_a_command_that_is_none_ends_with_2(capsys):
    for arguments in ([], ["sing"], ["speak"], ["speak", "Hello", "--file", "x"], ["speak", "Hello", "--seed", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def test_a_speech_is_kept_where_its_place_fails(folder, capsys, monkeypatch):
    save = Speech.save

    def full(self, path, *, force=False):
        if str(path) == "hello.wav":
            raise OSError(28, "No space left on device", "hello.wav")
        save(self, path, force=force)

    monkeypatch.setattr(Speech, "save", full)
    line = refused(capsys, "speak", "Hello", "-o", "hello.wav", *QUICK)
    kept = re.fullmatch(r"hello.wav could not be written \(.*No space left.*\): the speech is kept in (.*\.wav)", line)
    assert soundfile.info(kept[1]).frames > 0
    os.unlink(kept[1])


def test_a_place_without_permission_is_refused_before_the_work(folder, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(bark_jax, "load", None)
    assert "cannot be written to: choose another place" in refused(capsys, "speak", "Hello", "-o", "hello.wav")


def test_ctrl_c_leaves_nothing(folder):
    """Interrupt a real process in the midst of its work."""
    text = 20 * "Hello, my name is bark. "  # on a busy machine one sentence would be done too soon
    command = [sys.executable, "-m", "bark_jax", "speak", text, "-o", "hello.wav", "--progress"]
    with foreground():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        shown = ""
        while "semantic" not in shown:
            letter = process.stderr.read(1)
            assert letter, shown
            shown += letter
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        shown += process.stderr.read()
    assert process.returncode == 130
    assert "interrupted" in shown
    assert "Traceback" not in shown
    assert os.listdir(folder) == []


def test_voices_are_listed(folder, checkpoint, capsys):
    assert main(["voices", "--checkpoint", str(checkpoint)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["voice", "language", "tokens", "seconds"]
    assert lines[1:] == [
        ["announcer", "-", "40", "0.8"],
        ["de_speaker_0", "German", "40", "0.8"],
        ["v2/en_speaker_6", "English", "40", "0.8"],
    ]


def test_info_prints_the_trees(folder, checkpoint, capsys):
    assert main(["info", "--checkpoint", str(checkpoint)]) == 0
    shown = capsys.readouterr().out
    model = hf.tiny_bark().torch
    counts = {
        "semantic": model.semantic.num_parameters(exclude_embeddings=False),
        "coarse_acoustics": model.coarse_acoustics.num_parameters(exclude_embeddings=False),
    }
    for name, count in counts.items():
        assert re.search(rf"\({name}\): GPT\( +{count:,}\n", shown)
    assert re.search(r"\(qkv\): Linear\(kernel \(32, 96\)\) +3,072\n", shown)
    assert "blocks.0..1, 2 times" in shown
    size, cache = 4 * counts["semantic"] / 2**20, 4 * 2 * 2 * 64 * 32 / 2**20  # keys and values of 2 layers
    assert re.search(rf"semantic +{counts['semantic']:,} +float32 +{size:.1f} +{cache:.1f}\n", shown)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(bark_jax.load().semantic_model)))
    assert main(["info", "--dtype", "bfloat16"]) == 0
    shown = capsys.readouterr().out
    assert "(codec_model): Codec(" in shown
    rows = {line[:16].strip(): line.split() for line in shown[shown.index("\nnetwork") :].splitlines()}
    sizes = {name: float(rows[name][3]) for name in ("semantic", "coarse_acoustics", "fine_acoustics", "codec_model")}
    assert sizes["semantic"] == pytest.approx(2 * parameters / 2**20, abs=0.05)
    assert rows["fine_acoustics"][2] == "bfloat16"
    assert rows["codec_model"][2] == "float32"
    assert float(rows["all"][1]) == pytest.approx(sum(sizes.values()), abs=0.2)
    assert float(rows["one at a time"][-1]) == max(sizes.values())


def test_convert_writes_what_speak_reads(folder, capsys):
    hf.save(hf.tiny_bark(), folder / "suno", "suno")
    files = [f"suno/{stem}.pt" for stem in ("text", "coarse", "fine")]
    command = ["convert", *files, "--codec", "suno/encodec", "--tokenizer", "suno", "-o", "converted"]
    assert main(command) == 0
    assert "converted: written" in capsys.readouterr().out
    assert "converted exists and is kept" in refused(capsys, *command)
    assert main([*command, "--force"]) == 0


def test_help_shows_examples(capsys):
    for command in ([], ["speak"], ["batch"], ["voices"], ["convert"], ["info"], ["bench"]):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--help"])
        assert stopped.value.code == 0
        shown = capsys.readouterr().out
        assert f"examples:\n  bark-jax {command[0] if command else 'speak'}" in shown
