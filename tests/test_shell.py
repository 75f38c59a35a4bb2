"""The command line among other programs: pipes, terminals, signals, exit codes, and homes that are not there."""

import fcntl
import io
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
import soundfile
from common import foreground

import bark_jax
from bark_jax import console, options
from bark_jax.__main__ import main
from bark_jax.cli.commands import COMMANDS, parser

QUICK = ["--max-seconds", "0.3"]
ASSETS = Path(__file__).parent.parent / "assets"


@pytest.fixture(scope="module")
def bark():
    return bark_jax.load()


def give(monkeypatch, data: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """Let argparse refuse a command, and return its last line."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def child(*arguments, **popen):
    with foreground():
        return subprocess.Popen([sys.executable, "-m", "bark_jax", *arguments], **popen)


# ---------------------------------------------------------------------------------------------
# Options
# ---------------------------------------------------------------------------------------------


def test_flags_and_their_help_come_from_the_table(capsys):
    for command in ("speak", "batch"):
        shown = " ".join(help_of(capsys, command).split())
        for name, option in options.table().items():
            assert f"--{name.replace('_', '-')} {option.metavar} {option.help}" in shown
    flags = vars(parser().parse_args(["speak", "Hello"]))
    assert {name: flags[name] for name in options.table()} == options.complete({})


@pytest.mark.parametrize("command", [[], *([name] for name, *_ in COMMANDS)], ids=str)
def test_help_names_the_exit_codes(capsys, command):
    assert console.EXIT_CODES in help_of(capsys, *command)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--min-eos-p", "x"], "argument --min-eos-p: 'x' is not a number or off"),
        (["--min-eos-p", ""], "argument --min-eos-p: '' is not a number or off"),
        (["--top-k", "3.5"], "argument --top-k: '3.5' is not a whole number"),
        (["--top-p", "off"], "argument --top-p: 'off' is not a number"),
        (["--temperature", "hot"], "argument --temperature: 'hot' is not a number"),
        (["--seed", "one"], "argument --seed: 'one' is not a whole number"),
    ],
)
def test_what_is_no_number_is_said_in_plain_words(capsys, flags, message):
    assert refused(capsys, "speak", "Hello", *flags) == f"bark-jax speak: error: {message}"


# ---------------------------------------------------------------------------------------------
# Pipes
# ---------------------------------------------------------------------------------------------


def test_the_sound_goes_into_a_pipe(folder, capfdbinary, bark):
    assert main(["speak", "Hello", "-o", "-", *QUICK]) == 0
    shown = capfdbinary.readouterr()
    samples, rate = soundfile.read(io.BytesIO(shown.out))
    expected = bark.generate("Hello", max_seconds=0.3, progress=False)
    assert rate == 24_000
    np.testing.assert_allclose(samples, np.clip(expected.samples, -1, 1), atol=1 / 32767)
    assert re.fullmatch(rb"bark-jax: 0.\d\d s of sound, seed 0, made in seconds: .*\n", shown.err)
    assert not os.listdir()


def test_a_long_text_goes_from_pipe_to_pipe(folder, capfdbinary, monkeypatch, bark):
    give(monkeypatch, b"One. Two.")
    assert main(["speak", "-", "-o", "-", *QUICK]) == 0
    shown = capfdbinary.readouterr()
    samples, rate = soundfile.read(io.BytesIO(shown.out))
    expected = bark.read("One. Two.", max_seconds=0.3, progress=False)
    assert rate == 24_000
    np.testing.assert_allclose(samples, np.clip(expected.samples, -1, 1), atol=1 / 32767)
    assert b"2 sentences" in shown.err
    assert not os.listdir()


def test_sound_is_not_written_to_a_terminal(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["speak", "Hello", "-o", "-"]) == 2
    assert "standard output is a terminal: pipe the sound into a program" in capsys.readouterr().err


def test_empty_standard_input_is_refused(folder, capsys, monkeypatch):
    give(monkeypatch, b" \n")
    assert main(["speak", "-"]) == 2
    assert "standard input has no text" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["info"], ["voices"], ["speak", "Hello", "-o", "-", *QUICK]], ids=str)
def test_a_reader_that_leaves_ends_it_silently(folder, arguments):
    process = child(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 141)
    process.stderr.close()


def test_bars_are_shown_on_a_terminal_only(folder, capsys, monkeypatch):
    command = ["speak", "Hello", "--force", *QUICK]
    assert main(command) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "--progress"]) == 0
    assert "semantic 100%" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(command) == 0
    assert "semantic 100%" in capsys.readouterr().err
    assert main([*command, "--no-progress"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    Path("lines.txt").write_text("Hello")
    assert main(["batch", "lines.txt", "-o", "out", "--batch-size", "1", *QUICK]) == 0
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.flac", "x.ogg", "x.WAV"])
@pytest.mark.parametrize("text", ["Hello", "One. Two."])
def test_the_suffix_chooses_the_format(folder, name, text, bark):
    flags = ["--long-form"] * (text != "Hello")
    assert main(["speak", text, "-o", name, *flags, *QUICK]) == 0
    speak = bark.read if flags else bark.generate
    expected = speak(text, max_seconds=0.3, progress=False)
    samples, rate = soundfile.read(name)
    assert soundfile.info(name).format == name[2:].upper()
    assert (len(samples), rate) == (len(expected.samples), 24_000)
    if name != "x.ogg":
        np.testing.assert_allclose(samples, np.clip(expected.samples, -1, 1), atol=1 / 32767)
    assert os.listdir() == [name]


def test_the_home_directory_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    Path("text.txt").write_text("Hello")
    command = ["speak", "--file=~/text.txt", "--output=~/new/x.wav", "--save-voice=~/me.npz"]
    assert main([*command, "--max-seconds", "0.6"]) == 0
    assert sorted(path.name for path in folder.rglob("*.*")) == ["me.npz", "text.txt", "x.wav"]


def test_the_name_of_a_file_given_as_text_gets_a_hint(folder, capsys):
    Path("crlf.txt").write_text("One.\r\nTwo.")
    assert main(["speak", "crlf.txt", *QUICK]) == 0
    warning = "bark-jax: warning: crlf.txt is the name of a file, and is spoken as it is: --file reads what is in it\n"
    assert capsys.readouterr().err == warning


@pytest.mark.parametrize("flags", [[], ["--long-form"], ["-o", "-"]])
def test_a_speech_too_short_for_a_voice_is_kept(folder, capfd, flags):
    assert main(["speak", "Hi", "--max-seconds", "0.01", "--save-voice", "me.npz", *flags]) == 1
    shown = capfd.readouterr()
    line = shown.err.splitlines()[-1]
    assert line == "bark-jax: error: me.npz is not written, the speech is too short for a voice: speak a longer text"
    assert os.listdir() == ([] if "-o" in flags else ["speech.wav"])


def test_a_full_disk_loses_no_long_text(folder, capsys, monkeypatch):
    """The conversion to FLAC fails: the sentences stay in their WAV."""

    def full(*_, **__):
        raise OSError(28, "No space left on device", "book.flac")

    monkeypatch.setattr("bark_jax.sound.converted", full)
    assert main(["speak", "One. Two.", "--long-form", "-o", "book.flac", *QUICK]) == 2
    assert "No space left on device, book.partial.wav holds 2 of 2 sentences" in capsys.readouterr().err
    assert os.listdir() == ["book.partial.wav"]
    assert soundfile.info("book.partial.wav").frames > 0


def test_names_from_files_cannot_steer_the_terminal(folder, capsys):
    """Control characters in a voice's name, in `model_type` and in a warning are shown as escapes."""
    evil = "\x1b]0;evil\x07\x9b31m\u202e"
    shutil.copytree(ASSETS / "nano", "nano")
    voice = bark_jax.load("nano").generate("Hello", max_seconds=0.6, progress=False).voice()
    voice.save(Path("nano", f"{evil}.npz"))
    assert main(["voices", "--checkpoint", "nano"]) == 0
    assert main(["speak", "Hello", "--checkpoint", "nano", "--voice", "nobody"]) == 2
    Path("other").mkdir()
    Path("other", "config.json").write_text('{"model_type": "\\u001b[31mgpt\\n"}')
    assert main(["info", "--checkpoint", "other"]) == 2
    console._show_warning(f"{evil}\nbark-jax: error: forged")
    shown = capsys.readouterr()
    assert "\\x1b]0;evil\\x07\\x9b31m\\u202e" in shown.out
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown.out + shown.err)
    assert "\nbark-jax: error: forged" not in shown.err


# ---------------------------------------------------------------------------------------------
# Surroundings
# ---------------------------------------------------------------------------------------------


def test_a_user_without_a_home_can_speak(folder, monkeypatch, capsys):
    """As a container's user without an entry in /etc/passwd."""
    for variable in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid not found")))
    assert main(["speak", "Hello", *QUICK]) == 0
    assert refused(capsys, "speak", "--file", "~/x.txt").endswith(
        "~/x.txt needs a home directory, and none is known: set HOME"
    )


@pytest.mark.parametrize("home", ["/dev/null", "/proc/none"])
def test_a_home_that_cannot_be_written_to_is_no_matter(folder, monkeypatch, capsys, home):
    for variable in ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", home)
    with monkeypatch.context() as patch:
        patch.setattr("jax.config.update", None)  # calling it would be an error
        console.keep_compiled_programs()
    assert main(["voices"]) == 0
    assert capsys.readouterr().err == ""


def test_messages_that_nobody_reads_are_no_error(folder):
    process = child("speak", "--file", "missing.txt", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stderr.close()
    assert process.wait() == 2


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("voices >&-", 0, ""),
        ("speak '' 2>&-", 2, ""),
        ("speak - <&-", 2, "error: standard input has no text"),
        ("batch - -o out <&-", 2, "error: standard input has no text|- has no text"),
        ("speak Hello -o - >&-", 2, "error: standard output is closed: name a file with -o"),
        ("speak '' 2>/dev/full", 2, ""),
        ("voices <&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_may_be_closed(folder, command, code, message):
    """Else the next file that is opened has the number of a stream, and holds what is printed."""
    words = [shlex.quote(sys.executable), "-m", "bark_jax", command]
    done = subprocess.run(" ".join(words), shell=True, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert re.search(message, done.stderr)
    assert not list(folder.rglob("*.wav"))


def test_a_name_that_the_terminal_cannot_show_is_escaped(folder, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["speak", "Hello", "-o", "é.wav", *QUICK]) == 0
    assert out.buffer.getvalue().startswith(b"\\xe9.wav: ")


def test_the_home_directory_is_expanded_in_every_command(folder, monkeypatch, checkpoint):
    monkeypatch.setenv("HOME", str(folder))
    Path("lines.txt").write_text("Hello")
    assert main(["convert", checkpoint, "-o", "~/copy"]) == 0
    assert main(["batch", "~/lines.txt", "-o", "~/out", *QUICK, "--checkpoint", "~/copy"]) == 0
    assert sorted(os.listdir()) == ["copy", "lines.txt", "out"]


@pytest.mark.parametrize("module", ["numpy", "jax", "bark_jax.pipeline"])
def test_ctrl_c_during_the_imports_is_one_line(folder, module):
    """Python reports each module when it is imported; the interrupt comes after this one, among later ones."""
    with foreground():
        command = [sys.executable, "-X", "importtime", "-m", "bark_jax", "info"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with process:
        for line in process.stderr:
            if line.split("|")[-1].strip() == module:
                break
        process.send_signal(signal.SIGINT)
        shown = [line for line in process.stderr if not line.startswith("import time:")]
    assert (shown, process.returncode) == (["\n", "bark-jax: interrupted, no file is half-written\n"], 130)


def test_bars_on_a_real_terminal(folder):
    """The other end of a pseudo-terminal sees the bars of a command whose standard error it is."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # a size, as terminals have
    with child("speak", "Hello", *QUICK, stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 1024):
                shown += piece
        except OSError:  # Linux says so where the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    assert b"semantic 100%" in shown


def test_nothing_heavy_is_imported_for_the_name_alone():
    code = "import sys, bark_jax; print('jax' in sys.modules, bark_jax.tokens.TokenConfig().sample_rate, bark_jax.load)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("False 24000 <function load")
    with pytest.raises(AttributeError, match="module 'bark_jax' has no attribute 'lode'"):
        _ = bark_jax.lode
    assert {"Bark", "load", "__version__"} <= set(dir(bark_jax))
