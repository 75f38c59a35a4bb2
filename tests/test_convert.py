"""Writing checkpoints: what was read, for transformers too, wholly or not at all."""

import functools
import json
import os

import hf
import numpy as np
import pytest
import transformers

from bark_jax.checkpoints import convert as convert_module
from bark_jax.checkpoints import load
from bark_jax.checkpoints.convert import convert
from bark_jax.checkpoints.load import load_networks
from bark_jax.checkpoints.resolve import resolve
from bark_jax.checkpoints.tensors import read_safetensors

torch = hf.import_torch()
import safetensors.torch  # noqa: E402


@functools.cache
def model():
    return hf.tiny_bark()


@pytest.fixture
def source(tmp_path):
    return hf.save(model(), tmp_path / "source", tied_heads=False)


def load_theirs(folder, **options):
    """Load with transformers, and check that it misses nothing and finds nothing that it does not know."""
    theirs, report = transformers.BarkModel.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(report.values()), report
    return theirs


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", ["safetensors", "sharded", "bin", "sharded_bin", "suno"])
def test_transformers_loads_what_is_written(tmp_path, layout):
    source = hf.save(model(), tmp_path / "source", layout, weight_norm="g_v", tied_heads=False)
    convert(source, tmp_path / "new", codec=source / "encodec" if layout == "suno" else None)
    theirs = load_theirs(tmp_path / "new")
    expected = model().torch.state_dict()
    assert theirs.state_dict().keys() == expected.keys()
    assert all(torch.equal(x, expected[name]) for name, x in theirs.state_dict().items())
    ids = torch.arange(16)[None] % 9
    sounds = [m.generate(ids, do_sample=False, fine_temperature=None) for m in (theirs, model().torch)]
    assert torch.equal(*sounds)
    assert sounds[0].abs().max() > 0

    written = safetensors.torch.load_file(tmp_path / "new" / "model.safetensors")
    assert not any("lm_heads" in name or "weight_g" in name or "_orig_mod" in name for name in written)
    companions = {name for name in files(source) if name.startswith(("speaker", "vocab", "tokenizer", "generation"))}
    assert len(companions) == 14
    assert all(
        files(tmp_path / "new")[name] == files(source)[name] for name in companions if name != "generation_config.json"
    )
    assert files(tmp_path / "new").keys() == companions | {"config.json", "model.safetensors"}


def test_what_is_written_loads_here_and_converts_to_itself(tmp_path, source):
    convert(source, tmp_path / "a")
    convert(str(tmp_path / "a"), str(tmp_path / "deep" / "b"))
    assert files(tmp_path / "a") == files(tmp_path / "deep" / "b")
    one, two = (load_networks(resolve(folder)) for folder in (source, tmp_path / "a"))
    kernels = [networks["codec_model"].decoder.stages[1].up.kernel for networks in (one, two)]
    np.testing.assert_array_equal(*kernels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_keep_their_dtype_and_lie_at_multiples_of_their_width(tmp_path, dtype):
    odd = hf.tiny_bark(block_size=63)  # a mask has an odd number of bytes
    source = hf.save(odd, tmp_path / "source")
    state = {name: torch.from_numpy(x) for name, x in hf.state_dict(odd.weights).items()}
    state = {name: x.to(dtype) if "layers" in name and x.is_floating_point() else x for name, x in state.items()}
    safetensors.torch.save_file(state, source / "model.safetensors")
    convert(source, tmp_path / "new")
    tensors = read_safetensors(tmp_path / "new" / "model.safetensors")
    written = safetensors.torch.load_file(tmp_path / "new" / "model.safetensors")
    assert {name: x.dtype for name, x in written.items()} == {name: state[name].dtype for name in written}
    assert all(torch.equal(x, state[name]) for name, x in written.items())
    assert all(x.start % x.dtype.itemsize == 0 for x in tensors.values())
    assert len({x.dtype.itemsize for x in tensors.values()}) == 3


def test_suno_s_checkpoints_get_bark_s_ids(tmp_path, monkeypatch):
    hf.save_suno(model(), tmp_path / "source")
    monkeypatch.setattr(load, "id_problems", lambda *_: [])  # the tiny model has other ids
    paths = [tmp_path / "source" / f"{stem}.pt" for stem in ("text", "coarse", "fine")]
    convert(paths, tmp_path / "new", codec=tmp_path / "source" / "encodec")
    ids = json.loads((tmp_path / "new" / "generation_config.json").read_text())
    assert ids["semantic_config"]["semantic_infer_token"] == 129_599
    assert files(tmp_path / "new").keys() == {"config.json", "generation_config.json", "model.safetensors"}
    hf.save_tokenizer(tmp_path / "words")
    convert(paths, tmp_path / "more", codec=tmp_path / "source" / "encodec", tokenizer=tmp_path / "words")
    assert files(tmp_path / "more").keys() - files(tmp_path / "new").keys() == files(tmp_path / "words").keys()


def test_suno_s_voices_come_along(tmp_path, source):
    (source / "prompts" / "v2").mkdir(parents=True)
    np.savez(source / "prompts" / "v2" / "en_speaker_0.npz", **hf.voice())
    convert(source, tmp_path / "new")
    name = os.path.join("prompts", "v2", "en_speaker_0.npz")
    assert files(tmp_path / "new")[name] == files(source)[name]


def test_progress_is_reported(tmp_path, source):
    reports = []
    convert(source, tmp_path / "new", progress=lambda done, total: reports.append((done, total)))
    done = [x for x, _ in reports]
    header = int.from_bytes((tmp_path / "new" / "model.safetensors").read_bytes()[:8], "little")
    assert done == sorted(done)
    assert {total for _, total in reports} == {done[-1]}
    assert done[-1] + 8 + header == (tmp_path / "new" / "model.safetensors").stat().st_size


def test_a_folder_that_exists_is_kept(tmp_path, source):
    convert(source, tmp_path / "new")
    (tmp_path / "new" / "notes.txt").write_text("mine")
    before = files(tmp_path / "new")
    with pytest.raises(FileExistsError, match="new exists"):
        convert(source, tmp_path / "new")
    assert files(tmp_path / "new") == before
    convert(source, tmp_path / "new", force=True)
    assert files(tmp_path / "new").keys() == before.keys() - {"notes.txt"}
    convert(tmp_path / "new", tmp_path / "new", force=True)  # onto itself
    assert files(tmp_path / "new").keys() == before.keys() - {"notes.txt"}
    load_theirs(tmp_path / "new")


def test_force_replaces_nothing_but_checkpoints(tmp_path, source):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("photos", "file"):
        with pytest.raises(ValueError, match=f"{name} holds no checkpoint, so force does not replace it"):
            convert(source, tmp_path / name, force=True)
    assert files(tmp_path / "photos") == {"me.jpg": b"precious"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "photos", "source"]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("moment", ["in the middle", "at the end"])
def test_what_fails_leaves_everything_as_it_was(tmp_path, monkeypatch, source, existing, error, moment):
    if existing:
        convert(source, tmp_path / "new")
    before = files(tmp_path)
    replace, moves = os.replace, []

    def stop(done, total):
        if moment == "in the middle" and done > total / 2:
            raise error

    def replace_once(old, new):
        moves.append(new)
        if moment == "at the end" and len(moves) == 1 + existing:
            raise error
        replace(old, new)

    monkeypatch.setattr(convert_module.os, "replace", replace_once)
    with pytest.raises(error):
        convert(source, tmp_path / "new", force=existing, progress=stop)
    assert files(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 1 + existing


def test_a_broken_source_is_refused_before_anything_is_written(tmp_path, source):
    state = hf.state_dict(model().weights, tied_heads=False)
    state["fine_acoustics.lm_heads.2.weight"][0, 0] += 1
    del state["semantic.layernorm_final.weight"]
    hf.save_weights(state, source, "safetensors")
    with pytest.raises(ValueError, match="in 2 points"):
        convert(source, tmp_path / "deep" / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    hf.save_weights(hf.state_dict(model().weights), source, "safetensors")
    (source / "speaker_embeddings" / "announcer_fine_prompt.npy").unlink()
    with pytest.raises(ValueError, match=r"no file speaker_embeddings/announcer_fine_prompt\.npy"):
        convert(source, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
