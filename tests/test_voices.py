import contextlib
import inspect
import json
import os
import pickle
import random
import zipfile

import hf
import numpy as np
import pytest

from bark_jax import voices
from bark_jax.tokens import TokenConfig
from bark_jax.voices import PROMPTS, Voice, VoiceInfo, VoiceLibrary, load_voice, read_arrays

BARK = TokenConfig()
SMALL = hf.TOKENS


def arrays(n=158, dtypes=(np.int64, np.int64, np.int32), seed=0):
    """Draw a voice of n semantic tokens, shaped and typed as published ones are."""
    drawn = hf.voice(BARK, n, seed)
    return {name: drawn[name].astype(dtype) for name, dtype in zip(PROMPTS, dtypes, strict=True)}


def some_voice(n=158, seed=0):
    return Voice.from_dict(arrays(n, seed=seed), BARK)


def save_npz(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content)
    return path


# What a voice is.


@pytest.mark.parametrize("n", [158, 309, 499])
@pytest.mark.parametrize(
    "dtypes", [(np.int64, np.int64, np.int32), (np.uint16,) * 3, (np.int32,) * 3, (np.uint64,) * 3]
)
def test_published_dtypes_become_int32(n, dtypes):
    content = arrays(n, dtypes)
    voice = load_voice(content, BARK)
    assert [a.dtype for a in voice.to_dict().values()] == [np.int32] * 3
    for name, array in voice.to_dict().items():
        np.testing.assert_array_equal(array, content[name])


def test_voices_of_equal_tokens_are_equal():
    assert some_voice() == some_voice()
    assert some_voice() != some_voice(seed=1)
    assert some_voice() != "announcer"
    changed = arrays()
    changed["fine_prompt"][7, -1] ^= 1
    assert some_voice() != Voice.from_dict(changed, BARK)


def test_a_voice_has_its_own_arrays():
    content = arrays(dtypes=(np.int32,) * 3)
    voice = load_voice(content, BARK)
    content["semantic_prompt"][:] = 0
    assert voice.semantic.any()


BAD = {
    "flat": ({"semantic_prompt": np.zeros((1, 158), int)}, r"semantic_prompt has shape \(1, 158\), .* has \(n,\)"),
    "no rows": ({"coarse_prompt": np.zeros(237, int)}, r"coarse_prompt has shape \(237,\), .* has \(2, t\)"),
    "coarse rows": ({"coarse_prompt": np.zeros((3, 237), int)}, r"coarse_prompt has shape \(3, 237\), .* has \(2, t\)"),
    "fine rows": ({"fine_prompt": np.zeros((2, 237), int)}, r"fine_prompt has shape \(2, 237\), .* has \(8, t\)"),
    "time first": ({"fine_prompt": np.zeros((237, 8), int)}, r"fine_prompt has shape \(237, 8\), .* has \(8, t\)"),
    "float": ({"semantic_prompt": np.zeros(158)}, "semantic_prompt holds float64, .* cast it to int32"),
    "bool": ({"fine_prompt": np.zeros((8, 237), bool)}, "fine_prompt holds bool, .* cast it to int32"),
    "object": ({"coarse_prompt": np.zeros((2, 237), object)}, "coarse_prompt holds object"),
    "list": ({"coarse_prompt": None}, r"coarse_prompt has shape \(\)"),
    "no tokens": ({"semantic_prompt": np.zeros(0, int)}, r"semantic_prompt is empty, shape \(0,\)"),
    "no frames": ({"coarse_prompt": np.zeros((2, 0), int)}, r"coarse_prompt is empty, shape \(2, 0\)"),
    "semantic range": ({"semantic_prompt": np.full(158, 10_000)}, r"semantic_prompt holds 10000..10000, .* 0..9999"),
    "negative": ({"coarse_prompt": np.full((2, 237), -1)}, r"coarse_prompt holds -1..-1, .* 0..1023"),
    "fine range": ({"fine_prompt": np.full((8, 237), 1024)}, r"fine_prompt holds 1024..1024, .* 0..1023"),
    "wraps": ({"fine_prompt": np.full((8, 237), 2**32, np.uint64)}, "fine_prompt holds 4294967296"),
    "fine length": ({"fine_prompt": np.zeros((8, 236), int)}, "fine_prompt has 236 frames, coarse_prompt 237"),
    "ratio": ({"semantic_prompt": np.zeros(170, int)}, "237 frames for the 170 tokens .* 1.4 for each and not 1.5"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_voice_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        load_voice(arrays() | change, BARK)


def test_the_edges_of_the_ranges_are_allowed():
    content = arrays()
    content["semantic_prompt"][:2] = 0, 9999
    content["coarse_prompt"][:, 0] = 0, 1023
    content["fine_prompt"][:2, 0] = 1023, 0
    voice = load_voice(content, BARK)
    assert [voice.semantic[:2].tolist(), voice.coarse[:, 0].tolist()] == [[0, 9999], [0, 1023]]
    assert voice.fine[:2, 0].tolist() == [1023, 0]


@pytest.mark.parametrize("n", [153, 163])  # 237 frames: 1.549 and 1.454 for each token
def test_lengths_may_differ_a_little(n):
    load_voice(arrays() | {"semantic_prompt": np.zeros(n, int)}, BARK)


def test_missing_arrays_are_named():
    with pytest.raises(ValueError, match=r"coarse_prompt and fine_prompt missing: .* not \['semantic_prompt', 'x'\]"):
        load_voice({"semantic_prompt": np.zeros(3, int), "x": 1}, BARK)


def test_ranges_and_ratio_are_the_checkpoints():
    load_voice(hf.voice(SMALL), SMALL)
    with pytest.raises(ValueError, match=r"this checkpoint's tokens are 0..499"):
        load_voice(arrays(), SMALL)
    slow = TokenConfig(coarse_rate_hz=50.0)
    load_voice(hf.voice(slow), slow)
    with pytest.raises(ValueError, match=r"1.5 for each and not 1.0"):
        load_voice(arrays(), slow)


def test_a_voice_is_checked_again():
    with pytest.raises(ValueError, match=r"this checkpoint's tokens are 0..499"):
        load_voice(some_voice(), SMALL)
    assert load_voice(some_voice(), BARK) == some_voice()


@pytest.mark.parametrize("source", [None, 3, b"announcer"])
def test_other_sources_are_refused(source):
    unchecked = inspect.unwrap(load_voice)  # the tests' type checker would be the first to refuse
    with pytest.raises(ValueError, match=f"voice is a {type(source).__name__}: pass"):
        unchecked(source, BARK)


# Files.


def test_a_saved_voice_is_read_back_and_has_sunos_layout(tmp_path):
    path = tmp_path / "me.npz"
    some_voice().save(path)
    assert load_voice(path, BARK) == load_voice(str(path), BARK) == some_voice()
    with np.load(path) as file:
        assert sorted(file) == sorted(PROMPTS)
    assert os.listdir(tmp_path) == ["me.npz"]


def test_saving_replaces_nothing_unless_forced(tmp_path):
    path = tmp_path / "me.npz"
    some_voice().save(path)
    with pytest.raises(FileExistsError, match=r"me.npz exists"):
        some_voice(seed=1).save(path)
    assert load_voice(path, BARK) == some_voice()
    some_voice(seed=1).save(path, force=True)
    assert load_voice(path, BARK) == some_voice(seed=1)


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "me.npz"
    some_voice().save(path)

    def break_off(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(voices.np, "savez", break_off)
    with pytest.raises(OSError, match=r"disk full"):
        some_voice(seed=1).save(path, force=True)
    assert load_voice(path, BARK) == some_voice()
    assert os.listdir(tmp_path) == ["me.npz"]


def test_a_voice_file_ends_in_npz(tmp_path):
    with pytest.raises(ValueError, match=r"me does not end in .npz"):
        some_voice().save(tmp_path / "me")


def generated(n):
    """Make what a generation of n semantic tokens has: its frames are whole."""
    t = int(n * BARK.coarse_per_semantic // 2)
    return np.zeros(n, np.int32), np.zeros((2, t), np.int32), np.zeros((8, t), np.int32)


@pytest.mark.parametrize("n", [2, 4, 6, 8, *range(10, 40), 768])
def test_a_generation_is_a_voice(n):
    Voice.from_arrays(*generated(n), BARK)


@pytest.mark.parametrize("n", [0, 1, 3, 5, 7, 9])
def test_a_generation_under_10_tokens_may_be_none(n):
    with pytest.raises(ValueError, match=r"semantic_prompt is empty|of 10 semantic tokens or more"):
        Voice.from_arrays(*generated(n), BARK)


def test_a_missing_file_says_so(tmp_path):
    for source in (tmp_path / "me.npz", str(tmp_path / "me.npz")):
        with pytest.raises(ValueError, match=r"there is no voice file .*me.npz"):
            load_voice(source, BARK)


def test_a_folder_is_no_voice(tmp_path):
    with pytest.raises(ValueError, match=tmp_path.name):
        load_voice(tmp_path, BARK)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip", b"\x93NUMPY", b"PK\x03\x04", pickle.dumps({"semantic_prompt": [1]})],
    ids=["empty", "text", "npy", "zip", "pickle"],
)
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "me.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"me.npz.* is broken or no NumPy file"):
        load_voice(path, BARK)


def test_no_truncation_or_damage_goes_unnoticed_as_another_error(tmp_path):
    whole = save_npz(tmp_path / "whole.npz", arrays(20)).read_bytes()
    path, rng = tmp_path / "me.npz", random.Random(0)
    harmless = 0
    for i in range(300):
        damaged = bytearray(whole[: rng.randrange(len(whole))] if i % 2 else whole)
        for _ in range(0 if i % 2 else 20):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            assert load_voice(path, BARK) == some_voice(20)  # the damage fell on bytes that say nothing
            harmless += 1
    assert harmless < 30


def test_pickled_arrays_are_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    content = arrays() | {"coarse_prompt": np.array([Bomb()], object)}
    path = save_npz(tmp_path / "me.npz", content)
    with pytest.raises(ValueError, match=r"me.npz.*no array of plain numbers"):
        load_voice(path, BARK)
    assert not (tmp_path / "exploded").exists()


def test_an_npy_named_npz_lacks_the_arrays(tmp_path):
    with (tmp_path / "me.npz").open("wb") as file:
        np.save(file, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"me.npz.*semantic_prompt and coarse_prompt and fine_prompt missing"):
        load_voice(tmp_path / "me.npz", BARK)


def test_compressed_files_are_read(tmp_path):
    np.savez_compressed(tmp_path / "me.npz", **arrays())
    assert zipfile.ZipFile(tmp_path / "me.npz").infolist()[0].compress_type == zipfile.ZIP_DEFLATED
    assert load_voice(tmp_path / "me.npz", BARK) == some_voice()


# Libraries.


@pytest.fixture
def hub_folder(tmp_path):
    """A checkpoint that lists v2/en_speaker_6 too, and lacks its files."""
    hf.save_voices(tmp_path, BARK)
    for path in tmp_path.glob("speaker_embeddings/v2/*"):
        path.unlink()
    return tmp_path


def test_voices_of_a_hub_checkpoint(hub_folder):
    library = VoiceLibrary(hub_folder)
    assert library.names() == ["announcer", "de_speaker_0", "v2/en_speaker_6"]
    for name in ("announcer", "de_speaker_0"):
        voice = some_voice(40, seed=hf.VOICES.index(name))
        assert load_voice(name, BARK, library) == library.load(name, BARK) == voice


def test_missing_files_are_fetched_by_their_path(hub_folder, tmp_path_factory):
    hub, asked = tmp_path_factory.mktemp("hub"), []

    def fetch(path):
        asked.append(path)
        return hub / path

    hf.save_voices(hub, BARK)
    library = VoiceLibrary(hub_folder, fetch)
    library.load("announcer", BARK)
    assert asked == []
    voice = some_voice(40, seed=hf.VOICES.index("v2/en_speaker_6"))
    assert library.load("v2/en_speaker_6", BARK) == voice
    assert asked == [f"speaker_embeddings/v2/en_speaker_6_{prompt}.npy" for prompt in PROMPTS]


def test_missing_files_that_cannot_be_fetched_are_named(hub_folder):
    with pytest.raises(ValueError, match=r"'v2/en_speaker_6': there is no voice file .*_6_semantic_prompt.npy"):
        VoiceLibrary(hub_folder).load("v2/en_speaker_6", BARK)


def test_voices_in_sunos_layout(tmp_path):
    save_npz(tmp_path / "prompts/announcer.npz", arrays(499, (np.uint16,) * 3))
    save_npz(tmp_path / "assets/prompts/v2/en_speaker_6.npz", arrays(309))
    save_npz(tmp_path / "en_speaker_6.npz", arrays(158))
    library = VoiceLibrary(tmp_path)
    assert library.names() == ["announcer", "en_speaker_6", "v2/en_speaker_6"]
    assert [len(library.load(name, BARK).semantic) for name in library.names()] == [499, 158, 309]


def test_a_list_of_voices_fetches_nothing(hub_folder):
    rows = VoiceLibrary(hub_folder, fetch=os.fspath).info(BARK)
    assert rows == [
        VoiceInfo("announcer", None, 40, 40 / 49.9),
        VoiceInfo("de_speaker_0", "German", 40, 40 / 49.9),
        VoiceInfo("v2/en_speaker_6", "English", None, None),
    ]


def test_a_near_miss_lists_the_closest(hub_folder):
    with pytest.raises(
        ValueError, match=r"no voice 'en_speaker_6' among the 3 .*: try v2/en_speaker_6, de_speaker_0, a"
    ):
        load_voice("en_speaker_6", BARK, VoiceLibrary(hub_folder))


def test_a_checkpoint_without_voices_says_so(tmp_path):
    assert VoiceLibrary(tmp_path).names() == []
    for library in (None, VoiceLibrary(tmp_path)):
        with pytest.raises(ValueError, match=r"no voice 'announcer': .*checkpoint.* has no voices; pass an .npz file"):
            load_voice("announcer", BARK, library)


@pytest.mark.parametrize(
    "listing",
    ["", "[]", '{"a": 1}', '{"a": {"semantic_prompt": "a.npy"}}', json.dumps({"a": dict.fromkeys(PROMPTS, 3)})],
)
def test_a_broken_listing_is_named(tmp_path, listing):
    (tmp_path / "speaker_embeddings_path.json").write_text(listing)
    with pytest.raises(ValueError, match=r"speaker_embeddings_path.json is no list of voices"):
        VoiceLibrary(tmp_path)


@pytest.mark.parametrize("path", ["../secret.npy", "/etc/secret.npy", "a/../../secret.npy"])
def test_a_listing_stays_inside_its_checkpoint(tmp_path, path):
    (tmp_path / "speaker_embeddings_path.json").write_text(json.dumps({"a": dict.fromkeys(PROMPTS, path)}))
    with pytest.raises(ValueError, match=r"secret.npy lies outside of the checkpoint"):
        VoiceLibrary(tmp_path)


def test_an_invalid_voice_of_a_library_is_named(tmp_path):
    hf.save_voices(tmp_path, BARK)
    np.save(tmp_path / "speaker_embeddings/announcer_coarse_prompt.npy", np.zeros((2, 60)))
    with pytest.raises(ValueError, match=r"voice 'announcer': coarse_prompt holds float64"):
        VoiceLibrary(tmp_path).load("announcer", BARK)


def test_one_npy_is_one_array(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    assert read_arrays(tmp_path / "a.npy")["array"].tolist() == [0, 1, 2]
