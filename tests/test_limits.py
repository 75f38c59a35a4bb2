"""Files of others: whatever is in them, a reader raises ValueError or OSError, soon, and in little memory."""

import contextlib
import functools
import json
import os
import resource
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import limits, sound
from bark_jax.bulk import lines as bulk_lines
from bark_jax.checkpoints import configs
from bark_jax.checkpoints.pickles import read_pickle
from bark_jax.checkpoints.resolve import resolve, state_dict
from bark_jax.checkpoints.tensors import read_safetensors, write_safetensors
from bark_jax.text import encode, load_tokenizer
from bark_jax.tokens import TokenConfig
from bark_jax.train import recipe
from bark_jax.train.data import Recordings, read_metadata
from bark_jax.voices import Voice, VoiceLibrary, read_arrays

NANO = resolve(None)
SECONDS, MIB = 20.0, 256  # that one crafted file may take


@contextlib.contextmanager
def bounded():
    """Check that what is done takes little time, and that Python and NumPy hold little memory for it."""
    tracemalloc.start()
    began = time.monotonic()
    try:
        yield
    finally:
        taken, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert taken < SECONDS
    assert peak < MIB * 2**20


def refused(read, *arguments, match=""):
    with bounded(), pytest.raises((ValueError, OSError), match=match) as caught:
        read(*arguments)
    assert len(str(caught.value)) < 2_000
    assert "\x1b" not in str(caught.value)


# ---------------------------------------------------------------------------------------------
# Files that are sound
# ---------------------------------------------------------------------------------------------


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    + b"K\x04tQK\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
)  # fmt: skip
STATE_DICT = b"\x80\x02}" + text("a") + TENSOR + b"s."


def torch_file(path: Path, program: bytes = STATE_DICT) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())
    return path


def tensor_file(path: Path, header: object = None, data: bytes = b"") -> Path:
    if header is None:
        write_safetensors({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}, path)
        return path
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def voice_arrays(n: int = 40) -> dict[str, np.ndarray]:
    frames = round(n * 75 / 49.9)
    return {
        "semantic_prompt": np.arange(n),
        "coarse_prompt": np.ones((2, frames), int),
        "fine_prompt": np.ones((8, frames), int),
    }


def voice_file(path: Path, **others: np.ndarray) -> Path:
    np.savez_compressed(path, **voice_arrays(), **others)
    return path


def tokenizer_folder(folder: Path, **changed: object) -> Path:
    content = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}}
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "hello": 1}, "unk_token": "[UNK]"}
    (folder / "tokenizer.json").write_text(json.dumps(content | {"model": model} | changed))
    return folder


# ---------------------------------------------------------------------------------------------
# Crafted files
# ---------------------------------------------------------------------------------------------

LAUGHS = b"N\x85q\x00" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
PICKLES = {
    "a key of nested tuples that repeat": b"\x80\x02}" + LAUGHS + b"K\x01s.",
    "repeated tuples in a message": b"\x80\x02" + LAUGHS + b"Q.",
    "a key of tuples, 100,000 deep": b"\x80\x02}N" + b"\x85" * 100_000 + b"K\x01s.",
    "a memo of gigabytes": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "an array of gigabytes": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "sets": b"\x80\x04\x8f(K\x01\x90.",
    "a pickle of many bytes": b"\x80\x02" + b"N0" * 2**20 + b"N.",
    "a tensor of 20,000 dimensions": STATE_DICT.replace(b"K\x04\x85K\x01\x85", (b"(" + b"K\x01" * 20_000 + b"t") * 2),
}


@pytest.mark.parametrize("program", PICKLES)
def test_pickles(tmp_path, program):
    refused(read_pickle, torch_file(tmp_path / "x.bin", PICKLES[program]), match="is refused")


def test_a_tensor_that_repeats_its_numbers_is_no_weight(tmp_path):
    """A hundred bytes would become a table of any size."""
    program = STATE_DICT.replace(b"K\x04\x85K\x01\x85", b"J\x00\x00\x00\x40\x85K\x00\x85")
    content = read_pickle(torch_file(tmp_path / "x.bin", program))
    refused(state_dict, content, tmp_path, match="repeats its numbers")


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HEADERS = {
    "20,000 dimensions": {"a": ENTRY | {"shape": [1] * 20_000, "data_offsets": [0, 4]}},
    "an overlap": {"a": ENTRY, "b": ENTRY | {"data_offsets": [4, 12]}},
    "a hole": {"a": ENTRY, "b": ENTRY | {"data_offsets": [12, 20]}},
    "a key that comes twice": b'{"a": %s, "a": %s}' % ((json.dumps(ENTRY).encode(),) * 2),
    "numbers that are no whole ones": {"a": ENTRY | {"shape": [2.0]}},
    "true for one": {"a": ENTRY | {"shape": [True, 2]}},
    "a list": [1],
    "a text for an entry": {"a": "F32"},
    "a dtype that is a list": {"a": ENTRY | {"dtype": []}},
    "three offsets": {"a": ENTRY | {"data_offsets": [0, 4, 8]}},
    "nested deeply": b"[" * 100_000,
    "millions of values": b"[" + b"[]," * 3_000_000 + b"[]]",
    "a number of 10,000 digits": b'{"a": {"shape": [%s]}}' % (b"9" * 10_000),
    "terminal escapes": {"a\x1b[2J": ENTRY | {"shape": [3]}},
}


@pytest.mark.parametrize("header", HEADERS)
def test_safetensors(tmp_path, header):
    refused(read_safetensors, tensor_file(tmp_path / "x", HEADERS[header], bytes(20)), match="broken header")


def test_a_header_above_the_format_s_limit(tmp_path):
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        file.write((3 * 2**30).to_bytes(8, "little"))
        file.truncate(3 * 2**30 + 8)  # sparse: it takes no room
    refused(read_safetensors, path, match="limit is 100,000,000")


def test_an_extra_array_of_a_voice_is_not_read(tmp_path):
    """One of gigabytes takes no memory, one of objects refuses no voice."""
    extra = {"other": np.array([{}], object), "large": np.zeros(2**27, np.int8)}
    path = voice_file(tmp_path / "v.npz", **extra)
    with bounded():
        assert Voice.from_dict(read_arrays(path), TokenConfig()).semantic.shape == (40,)


def npy(header: bytes, data: bytes = bytes(8)) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


ARRAYS = {
    "more than it holds": npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (999999999999,), }\n"),
    "20,000 dimensions": npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (" + b"1, " * 20_000 + b"), }\n"),
    "a nested header": npy(b"(" * 60_000),
    "objects": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"),
    "a dtype that is none": npy(b"{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n"),
    "nothing": b"",
}


@pytest.mark.parametrize("content", ARRAYS)
def test_arrays(tmp_path, content):
    (tmp_path / "v.npy").write_bytes(ARRAYS[content])
    refused(read_arrays, tmp_path / "v.npy", match="no NumPy file of plain arrays")


def test_an_array_that_unpacks_to_gigabytes(tmp_path):
    path, name = tmp_path / "v.npz", "semantic_prompt.npy"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        for _ in range(256):
            file.write(bytes(2**20))
    refused(read_arrays, tmp_path / "v.npz", match="more than 16,777,216 bytes")


@pytest.mark.parametrize("read", [read_arrays, read_pickle, read_safetensors, sound.read_sound, limits.read_json])
def test_pipes_are_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    refused(read, tmp_path / "pipe", match="not a regular file")


CONFIGS = {
    "semantic_config": {
        "num_layers": (10**9, 0, -1, "2", 2.0, None, True),
        "hidden_size": (0, 10**9, "32", float("nan")),
        "num_heads": (0, 7, 10**9),
        "bias": (0, "no", None),
        "input_vocab_size": (0, 10**12),
    },
    "fine_acoustics_config": {"n_codes_total": (0, 10**9), "n_codes_given": (9,), "output_vocab_size": (1,)},
    "codec_config": {
        "upsampling_ratios": ([], [0], 8, [10**9], [64] * 8, ["8"], [2] * 1000),
        "num_filters": (0, 10**9),
        "compress": (0, 10**9),
        "target_bandwidths": ([], [0], [float("inf")], [10**9]),
        "codebook_size": (0, 1, 10**9),
        "dilation_growth_rate": (10**9,),
        "num_lstm_layers": (10**9, -1),
    },
}
GENERATION = {
    "semantic_config": {"semantic_rate_hz": (0, -1, 1e-300, float("nan"), "49.9"), "max_new_tokens": (0, -1, 10**12)},
    "coarse_acoustics_config": {
        "coarse_rate_hz": (0, -1, 1e300, 1e-300),
        "sliding_window_len": (0, 1, -2, 10**9, 2.0),
        "n_coarse_codebooks": (0, 9, 10**9),
        "temperature": (-1, float("nan"), "hot"),
    },
    "fine_acoustics_config": {"max_fine_history_length": (0, 10**5), "max_fine_input_length": (0, 1)},
}


@pytest.mark.parametrize("wrong", ["config", "generation_config"])
def test_configs(wrong):
    sound_config = {"config": NANO.config, "generation_config": NANO.generation_config}
    for section, fields in (CONFIGS if wrong == "config" else GENERATION).items():
        for field, values in fields.items():
            for value in values:
                changed = sound_config[wrong] | {section: sound_config[wrong][section] | {field: value}}
                arguments = sound_config | {wrong: changed}
                refused(configs.check_configs, arguments["config"], arguments["generation_config"], "x", match=field)


def test_all_that_is_wrong_in_configs_is_in_one_error():
    config = NANO.config | {"semantic_config": {"num_layers": 0}, "codec_config": {"num_filters": "x"}}
    generation = NANO.generation_config | {"sample_rate": -1, "coarse_acoustics_config": {"sliding_window_len": 0}}
    with pytest.raises(ValueError, match="num_layers is 0") as caught:
        configs.check_configs(config, generation, "x")
    for part in ("hidden_size is missing", "num_filters is 'x'", "sample_rate is -1", "sliding_window_len is 0"):
        assert part in str(caught.value)


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
TOKENIZERS = {
    "rules that grow a text": {"normalizer": {"type": "Sequence", "normalizers": [REPLACE] * 60}},
    "too many rules": {"normalizer": {"type": "Sequence", "normalizers": [REPLACE] * 2_000}},
    "a rule that writes much": {"normalizer": REPLACE | {"content": "b" * 1_000_000}},
    "a damaged map": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "a model that is none": {"model": {"type": "Oracle"}},
    "ids that are none": {"model": {"type": "WordLevel", "vocab": {"a": 2**40}, "unk_token": "a"}},
    "a broken pattern": {"normalizer": REPLACE | {"pattern": {"Regex": "(((("}}},
    "nothing": {"model": None},
}


@pytest.mark.parametrize("changed", TOKENIZERS)
def test_tokenizers(tmp_path, changed):
    refused(load_tokenizer, tokenizer_folder(tmp_path, **TOKENIZERS[changed]), match="no tokenizer can be read")


def test_json_that_is_nested_deeply(tmp_path):
    for name in ("config.json", "tokenizer.json", "speaker_embeddings_path.json"):
        (tmp_path / name).write_text('{"a":' * 100_000)
    refused(resolve, tmp_path, match="nested too deeply")
    refused(load_tokenizer, tmp_path, match="nested too deeply")
    refused(VoiceLibrary, tmp_path, match="nested too deeply")
    refused(recipe.read, str(tmp_path / "config.json"), match="nested too deeply")


def test_sounds_that_claim_too_much(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(100), 9_999_991, "PCM_16")
    refused(sound.read_sound, path, match="9999991 Hz, the limits are 1000 to 384000 Hz")
    soundfile.write(tmp_path / "x.flac", np.zeros(100), 24_000, "PCM_16")
    data = bytearray((tmp_path / "x.flac").read_bytes())
    data[21:26] = bytes([data[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # 36 bits: the frames
    (tmp_path / "x.flac").write_bytes(data)
    refused(sound.read_sound, tmp_path / "x.flac", match="samples, the limits are")
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(61):
            file.write(np.zeros(8_000 * 60, np.float32))
    assert (tmp_path / "hour.flac").stat().st_size < 300_000
    refused(sound.read_sound, tmp_path / "hour.flac", match="lasts 3,660 s")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b"])
def test_ids_of_recordings_stay_in_their_folder(tmp_path, name):
    (tmp_path / "metadata.csv").write_text(f"{name}|words\n")
    refused(read_metadata, tmp_path, match="an id is the name of a file in wavs")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(10**400, "a whole number of 1329 bits"), ("\x1b[2J", r"'\x1b[2J'"), (([],), "a tuple"), ({"a": 1}, "a dict")],
)
def test_values_in_messages_are_brief(value, expected):
    assert limits.shown(value) == expected
    assert len(limits.shown("x" * 10**6)) < 100


# ---------------------------------------------------------------------------------------------
# Fuzzed files
# ---------------------------------------------------------------------------------------------


def sound_bytes(suffix: str) -> bytes:
    return sound.sound_bytes(np.sin(np.arange(20) / 9).astype(np.float32), 24_000, suffix)


def read_all(read, path):
    for x in read(path).values():
        x.read()


def speak_with(folder: Path) -> None:
    encode("hello, a [laugh] 5", load_tokenizer(folder), TokenConfig())


def read_voice(path: Path) -> None:
    Voice.from_dict(read_arrays(path), TokenConfig())


LINES = b"\n".join(json.dumps({"text": "Hello.", "voice": "v", "seed": n, "id": f"a{n}"}).encode() for n in range(3))
METADATA = "a|Grüße 5|Grüße fünf|eve\nb|Hello.|Hello.|adam\n".encode()


def all_sound(lines: list[bulk_lines.Line]) -> None:
    """Raise the first error of lines, which are read though some of them are wrong."""
    for line in lines:
        if line.error:
            raise ValueError(line.error)


def recordings_folder(folder: Path) -> Path:
    np.save(folder / "samples.npy", np.zeros(30, np.int16))
    content = {"sample_rate": 24_000, "texts": ["a", "b"], "speakers": ["x", "y"], "lengths": [10, 20]}
    return saved(folder, json.dumps(content).encode(), "recordings.json")


FUZZED = {  # what makes a sound file in a folder, and what reads it
    "safetensors": (lambda folder: tensor_file(folder / "x"), functools.partial(read_all, read_safetensors)),
    "pickle": (lambda folder: torch_file(folder / "x"), lambda path: state_dict(read_pickle(path), path)),
    "npz": (lambda folder: voice_file(folder / "x.npz"), read_voice),
    "tokenizer": (lambda folder: tokenizer_folder(folder) / "tokenizer.json", lambda path: speak_with(path.parent)),
    "wav": (lambda folder: saved(folder, sound_bytes(".wav")), sound.read_sound),
    "flac": (lambda folder: saved(folder, sound_bytes(".flac")), sound.read_sound),
    "json": (lambda folder: saved(folder, json.dumps(NANO.config).encode()), limits.read_json),
    "lines": (lambda folder: saved(folder, LINES, "x.jsonl"), lambda path: all_sound(bulk_lines.read_lines(path))),
    "recipe": (
        lambda folder: saved(folder, json.dumps(recipe.TINY.to_dict()).encode()),
        lambda path: recipe.read(str(path)),
    ),
    "metadata": (lambda folder: saved(folder, METADATA, "metadata.csv"), lambda path: read_metadata(path.parent)),
    "recordings": (recordings_folder, lambda path: Recordings.open(path.parent)),
}


def saved(folder: Path, content: bytes, name: str = "x") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Change, cut out, repeat or insert a few bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 9))
        match rng.integers(5):
            case 0:
                data[place : place + length] = rng.bytes(length)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[place : place + length] * int(rng.integers(1, 200))
            case 3:
                data[place : place + 1] = bytes([rng.choice([0, 1, 127, 128, 255, 34, 48, 57, 91, 123])])
            case 4:
                data[place : place + 8] = struct.pack("<Q", rng.choice([0, 2**31, 2**36, 2**62]))
    return bytes(data)


@pytest.mark.parametrize("kind", FUZZED)
def test_damaged_files_raise_what_is_documented(tmp_path, kind):
    make, read = FUZZED[kind]
    path = make(tmp_path)
    content, rng = path.read_bytes(), np.random.default_rng(17)
    read(path)
    before, refusals = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for _ in range(150):
        path.write_bytes(damaged(content, rng))
        began = time.monotonic()
        try:
            read(path)
        except (ValueError, OSError):
            refusals += 1
        assert time.monotonic() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MIB * 1024
    assert refusals > 10


HOSTILE = (None, True, -1, 0, 1, 10**9, 10**40, 1e-300, 1e300, float("nan"), "", "x", [], {}, [[]], [0] * 100)


def test_changed_configs_raise_what_is_documented():
    rng = np.random.default_rng(18)
    for _ in range(400):
        both = json.loads(json.dumps({"config": NANO.config, "generation_config": NANO.generation_config}))
        for _ in range(rng.integers(1, 4)):
            owner = both[str(rng.choice(["config", "generation_config"]))]
            inner = [one for one in owner.values() if isinstance(one, dict)]
            if inner and rng.random() < 0.8:
                owner = inner[rng.integers(len(inner))]
            if owner:
                owner[str(rng.choice(sorted(owner)))] = HOSTILE[rng.integers(len(HOSTILE))]
        if all(isinstance(both["config"].get(section), dict) for section in configs.READERS):
            with contextlib.suppress(ValueError):
                configs.check_configs(both["config"], both["generation_config"], "x")


def test_changed_recipes_raise_what_is_documented():
    whole, wider = recipe.TINY.to_dict(), {float: {int, float}, type(None): {int, float, type(None)}}
    for section, fields in whole.items():
        for name, before in fields.items():
            for value in HOSTILE:
                content = json.loads(json.dumps(whole))
                content[section][name] = value
                with contextlib.suppress(ValueError):
                    accepted = recipe.Recipe.from_dict(content).to_dict()[section][name]
                    assert type(accepted) in wider.get(type(before), {type(before)})
    for value in HOSTILE:
        refused(recipe.Recipe.from_dict, value, match="JSON object|a recipe has")
        for section in whole if value != {} else ():  # which leaves every default
            refused(recipe.Recipe.from_dict, whole | {section: value}, match=f"{section}: ")


def test_all_that_is_wrong_in_a_recipe_is_said_at_once():
    content = recipe.TINY.to_dict()
    content["coarse_training"] = {"steps": "8", "batch": 0, "dtype": "int8", "speed": 3}
    content["semantic"]["num_heads"] = 2.0
    with pytest.raises(ValueError, match="coarse_training: ") as error:
        recipe.Recipe.from_dict(content)
    assert str(error.value).splitlines() == [
        "semantic: num_heads is 2.0: it must be a whole number from 1 to 256",
        "coarse_training: 'speed' is not known; steps is '8': it must be a whole number from 1 to 1,000,000,000; "
        "batch is 0: it must be a whole number from 1 to 1,000,000,000; dtype is 'int8': it must be one of float32, "
        "bfloat16",
    ]
    content = recipe.TINY.to_dict()
    content["coarse_training"]["seed"] = 2**32 - 1  # as for a generation
    assert recipe.Recipe.from_dict(content).coarse_training.seed == 2**32 - 1
    content["semantic"]["num_heads"] = 3
    refused(recipe.Recipe.from_dict, content, match="hidden_size is .*, which num_heads, 3, does not divide")


def test_an_empty_archive_is_no_voice(tmp_path):
    with zipfile.ZipFile(tmp_path / "v.npz", "w"):
        pass
    refused(read_voice, tmp_path / "v.npz", match="missing")
