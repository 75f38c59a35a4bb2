"""Files: whole or not at all, at whatever byte the disk is full and whenever the process is killed."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import bark_jax
from bark_jax import files, sound
from bark_jax.cli import main, speak
from bark_jax.sound import GrowingSound
from bark_jax.speech import Speech
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

SAMPLES = np.linspace(-1, 1, 60, dtype=np.float32)
VOICE = Voice(np.zeros(10, np.int32), np.zeros((2, 15), np.int32), np.zeros((8, 15), np.int32))


@contextlib.contextmanager
def full_disk(size: int):
    """Let no file grow beyond `size` bytes, as on a disk with no more room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def speech(samples=SAMPLES):
    none = np.zeros((0, 0), np.int32)
    return Speech("Hello", 0, samples, 24_000, np.zeros(0, np.int32), none, none, {}, TokenConfig())


SAVES = {
    "speech": lambda path: speech().save(f"{path}.wav", force=True),
    "voice": lambda path: VOICE.save(f"{path}.npz", force=True),
    "bytes": lambda path: files.write_file(f"{path}.bin", b"x" * 100, force=True),
}


@pytest.mark.parametrize("what", SAVES)
@pytest.mark.parametrize("before", [None, b"kept"])
def test_a_full_disk_leaves_the_old_file_or_none(tmp_path, what, before):
    SAVES[what](tmp_path / "whole")
    (whole,) = tmp_path.iterdir()
    content = whole.read_bytes()
    path = tmp_path / f"new{whole.suffix}"
    for size in range(len(content) + 1):
        if before is not None:
            path.write_bytes(before)
        with full_disk(size):
            if size < len(content):
                with pytest.raises(OSError, match="large") as caught:
                    SAVES[what](tmp_path / "new")
                assert caught.value.filename == str(path)
                assert (path.read_bytes() if path.exists() else None) == before
            else:
                SAVES[what](tmp_path / "new")
        assert {file.name for file in tmp_path.iterdir()} <= {whole.name, path.name}
    assert path.read_bytes() == content


def test_asserts_play_no_part(tmp_path):
    """Python -O leaves out asserts, which soundfile counts on where it writes into a Python file."""
    code = f"""if True:
        import resource, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        from bark_jax.speech import Speech
        from bark_jax.tokens import TokenConfig
        assert False, "left out"
        none = np.zeros((0, 0), np.int32)
        ids, samples = np.zeros(0, np.int32), np.zeros(99, np.float32)
        speech = Speech("", 0, samples, 24_000, ids, none, none, {{}}, TokenConfig())
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        try:
            speech.save("x.wav")
        except OSError as error:
            print(error.filename)
    """
    done = subprocess.run([sys.executable, "-O", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "x.wav\n"
    assert os.listdir(tmp_path) == []


def test_a_growing_wav_keeps_the_pieces_before_a_full_disk(tmp_path):
    first, second = sound.sound_bytes(SAMPLES, 24_000), sound.sound_bytes(np.concatenate([SAMPLES] * 2), 24_000)
    for size in range(len(second) + 1):
        wav = GrowingSound(tmp_path / "book.wav")
        with contextlib.suppress(OSError), full_disk(size), wav:
            wav.write(SAMPLES, 24_000)
            wav.write(SAMPLES, 24_000)
        left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        expected = {"book.partial.wav": first} if size < len(second) else {"book.wav": second}
        assert left == (expected if size >= len(first) else {})
        for path in tmp_path.iterdir():
            path.unlink()


def test_a_growing_wav_is_whole_at_every_moment(tmp_path, monkeypatch):
    """The header counts samples that are on the disk, and no others."""
    wav, seen = GrowingSound(tmp_path / "book.wav"), []
    fsync = os.fsync

    def look(handle):
        fsync(handle)
        seen.append(soundfile.info(wav.partial).frames if wav.partial.exists() else 0)

    monkeypatch.setattr(os, "fsync", look)
    with wav:
        for _ in range(3):
            wav.write(SAMPLES, 24_000)
    assert sorted(set(seen)) == [0, 60, 120, 180]
    np.testing.assert_allclose(soundfile.read(tmp_path / "book.wav")[0], np.tile(SAMPLES, 3), atol=1e-4)


def test_a_wav_too_large_for_its_header_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sound, "WAV_LIMIT", 280)
    wav = GrowingSound(tmp_path / "book.wav")
    wav.write(SAMPLES, 24_000)
    with pytest.raises(ValueError, match=r"book.partial.wav would have 284 bytes, a WAV less than 280: cut the text"):
        wav.write(SAMPLES, 24_000)
    assert soundfile.info(tmp_path / "book.partial.wav").frames == 60


def test_what_finds_no_room_is_kept_where_there_is_some(tmp_path, monkeypatch):
    """In the first of three folders that has room."""
    folders = [tmp_path / name for name in ("tmp", "home", "here")]
    for folder in folders[1:]:
        folder.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folders[0]))  # which is not there
    monkeypatch.setenv("HOME", str(folders[1]))
    monkeypatch.chdir(folders[2])
    for folder in folders[1:]:
        kept = files.rescue(b"speech", ".wav")
        assert kept.parent == folder
        assert kept.read_bytes() == b"speech"
        shutil.rmtree(folder)
    with full_disk(3), pytest.raises(OSError, match=r"no folder has room: .*; .*; "):
        files.rescue(b"speech", ".wav")


def test_a_long_text_on_a_full_disk_loses_no_sentence(tmp_path, monkeypatch, capsys):
    """Those before are in the partial file, and the one that found no room is elsewhere."""
    monkeypatch.chdir(tmp_path)
    kept, write = tmp_path / "kept.wav", files.append
    monkeypatch.setattr(speak, "load", lambda options: object.__new__(bark_jax.Bark))
    monkeypatch.setattr(bark_jax.Bark, "sentences", lambda self, text, **_: ["One.", "Two.", "Three."])
    monkeypatch.setattr(bark_jax.Bark, "stream", lambda self, text, **_: (speech() for _ in range(3)))
    monkeypatch.setattr(speak, "rescue", lambda content, suffix: kept.write_bytes(content) and kept)

    def full(path, content):
        with full_disk(Path(path).stat().st_size + len(content) - 1):
            write(path, content)

    monkeypatch.setattr(sound, "append", full)
    assert main(["speak", "One. Two. Three.", "--long-form", "-o", "book.wav"]) == 2
    line = capsys.readouterr().err
    note = f"sentence 2 is kept in {kept}: book.partial.wav holds 1 of 3 sentences\n"
    assert line == f"bark-jax: error: book.partial.wav: File too large, {note}"
    assert kept.read_bytes() == (tmp_path / "book.partial.wav").read_bytes() == sound.sound_bytes(SAMPLES, 24_000)


@pytest.mark.parametrize("size", range(30))
def test_appending_to_a_full_disk_changes_nothing(tmp_path, size):
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    with full_disk(size), contextlib.suppress(OSError):
        files.append(path, b"abcdefghij")
    assert path.read_bytes() == (b"0123456789abcdefghij" if size >= 20 else b"0123456789")


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """First the content is synced, then the file gets its name, then the folder is synced."""
    steps = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, call=call, name=name: (steps.append(name), call(*args))[1])
    files.write_file(tmp_path / "a", b"content")
    assert steps == ["fsync", "replace", "fsync"]
    files.append(tmp_path / "a", b"more")
    assert steps[3:] == ["fsync"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_nothing(tmp_path, error):
    with contextlib.suppress(error), files.new_file(tmp_path / "a") as file:
        file.write(b"half")
        raise error
    assert os.listdir(tmp_path) == []


def test_other_threads_keep_their_umask(tmp_path):
    """The mode of new files is asked of the system: umask belongs to all threads."""
    os.umask(old := os.umask(0o077))
    files.write_file(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~old
    modes, done = set(), threading.Event()

    def work():
        while not done.is_set():
            files.write_file(tmp_path / "b", b"", force=True)

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(2000):
        path = tmp_path / f"c{number}"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
        modes.add(path.stat().st_mode & 0o777)
        path.unlink()
    done.set()
    worker.join()
    assert modes == {0o666 & ~old}


def test_links_are_not_followed(tmp_path):
    """What is written never lands in a file elsewhere."""
    (tmp_path / "elsewhere").write_bytes(b"mine")
    for target in ("elsewhere", "nowhere"):
        link = tmp_path / "link"
        link.symlink_to(target)
        with pytest.raises(FileExistsError, match="link exists and is kept"):
            files.write_file(link, b"new")
        with pytest.raises(OSError, match="symbolic link"):
            files.append(link, b"new")
        files.write_file(link, b"new", force=True)
        assert (not link.is_symlink(), link.read_bytes()) == (True, b"new")
        link.unlink()
    partial = tmp_path / "book.partial.wav"
    partial.symlink_to("elsewhere")
    with GrowingSound(tmp_path / "book.wav", force=True) as wav:
        wav.write(SAMPLES, 24_000)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["x" * 251 + ".wav", "é" * 125 + ".wav"])
def test_the_longest_names_are_written(tmp_path, name):
    files.write_file(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]
    left = tmp_path / f".{files.stem(name)}.0123abcd"
    left.touch()
    files.remove_leftovers(tmp_path, {name})
    assert not left.exists()


@pytest.mark.parametrize("name", ["x" * 252 + ".wav", "is a folder", "missing/x.wav", "file/x.wav"])
def test_an_error_names_the_file_that_was_asked_for(tmp_path, name):
    (tmp_path / "is a folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^\[Errno \d+\] [\w ]+: '.*'$") as caught:
        files.write_file(tmp_path / name, b"x", force=True)
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / name), None)


def test_a_folder_is_made_only_where_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write_file(tmp_path / "new" / "a", b"")
    assert caught.value.filename == str(tmp_path / "new" / "a")
    files.write_file(tmp_path / "new" / "a", b"", parents=True)
    assert os.listdir(tmp_path / "new") == ["a"]
