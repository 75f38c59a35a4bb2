"""Training: its layouts are generation's, it resumes, and what it writes is a checkpoint."""

import dataclasses
import functools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from common import held
from flax import nnx

import bark_jax
from bark_jax import __main__ as command_line
from bark_jax import coarse, files, fine, sampling, semantic
from bark_jax.checkpoints.export import export_tensors
from bark_jax.checkpoints.load import load_module
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.codec import Codec
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT
from bark_jax.pipeline import Bark
from bark_jax.text import unread
from bark_jax.train import batches, data, evaluate, examples, loop, recipe, transformers, units
from bark_jax.train import cli as training_command
from bark_jax.train import codec as codec_training
from bark_jax.train import run as training_run
from bark_jax.train.run import Run
from bark_jax.voices import Voice

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = recipe.TINY
TOKENS = TINY.tokens
TEXTS = ["Hello, my dog.", "21 cats", "where is it?", "no.", "yes, and now", "a song"]
GREEDY = sampling.Controls.from_user(0)
next_logits = nnx.jit(transformers.next_logits)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A folder in LJSpeech's layout, of rising tones in a little noise."""
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    (folder / "wavs").mkdir()
    for i in range(len(TEXTS)):
        time = np.arange(int(16_000 * (0.6 + 0.1 * i))) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (200 + 100 * i + 300 * time) * time) + 0.01 * rng.normal(size=len(time))
        soundfile.write(folder / "wavs" / f"{i}.wav", tone, 16_000)
    lines = [f"{i}|{text}|{text}" for i, text in enumerate(TEXTS)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(recordings, tmp_path_factory) -> Run:
    """A run of the tiny recipe, all parts made."""
    made = Run(tmp_path_factory.mktemp("run"), TINY, recordings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "REPORT_STEPS", 4)
        for part in ("units", "codec", "semantic", "coarse", "fine"):
            getattr(made, part)()
    return made


def random_voice(seed: int, n: int) -> Voice:
    rng, frames = np.random.default_rng(seed), round(1.5 * n)
    codes = rng.integers(0, TOKENS.codebook_size, (TOKENS.n_fine_codebooks, frames)).astype(np.int32)
    return Voice(random_units(seed, n), codes[: TOKENS.n_coarse_codebooks], codes)


def random_units(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, TOKENS.semantic_vocab_size, n).astype(np.int32)


def lively(make, seed=0):
    """Build a model whose greedy choices are not all alike."""
    graphdef, params = nnx.split(make(rngs=nnx.Rngs(seed)))
    return nnx.merge(graphdef, jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, params))


def as_batch(example):
    """Make a batch of one example."""
    return {name: jnp.asarray(x)[None] for name, x in example.items()}


# What a model is taught is what it is asked: greedy generation agrees with the taught logits at every place.


@pytest.mark.parametrize("voice", [None, random_voice(1, 20), random_voice(2, 60)], ids=["none", "short", "long"])
def test_semantic_training_reads_what_generation_reads(voice):
    model = lively(functools.partial(GPT, TINY.semantic))
    ids = np.array([3, 4, 9], np.int32) + TOKENS.text_encoding_offset
    limits = [TOKENS.max_new_tokens]
    (drawn,) = semantic.generate(model, TOKENS, [ids], [voice], [0], GREEDY, limits=limits, early_stop=False)
    example = examples.semantic_example(ids, drawn, voice, TOKENS)
    batch = as_batch(example)
    logits = next_logits(model, batch["prompt"], batch["inputs"])[0]
    assert len(set(drawn.tolist())) > 3
    np.testing.assert_array_equal(jnp.argmax(logits[:, : TOKENS.semantic_vocab_size], axis=-1), drawn)


@pytest.mark.parametrize("voice", [None, random_voice(1, 20), random_voice(2, 61)], ids=["none", "short", "long"])
@pytest.mark.parametrize("n", [5, 30, 90])
def test_coarse_training_reads_what_generation_reads(voice, n):
    model = lively(functools.partial(GPT, TINY.coarse))
    given = random_units(3, n)
    (codes,) = coarse.generate(model, TOKENS, [given], [voice], [0], GREEDY)
    flat = coarse.flatten_codebooks(codes, TOKENS)
    for step in range(0, len(flat), TOKENS.sliding_window_len):
        example = examples.coarse_example(given, codes, step, voice, TOKENS)
        new = flat[step : step + TOKENS.sliding_window_len]
        np.testing.assert_array_equal(example["targets"][-len(new) :], new)
        batch = as_batch(example)
        logits = next_logits(model, batch["prompt"], batch["inputs"])[0, -len(new) :]
        first = TOKENS.coarse_offset(0) + (new - TOKENS.coarse_offset(0)) // TOKENS.codebook_size * TOKENS.codebook_size
        own = np.stack([row[at : at + TOKENS.codebook_size] for row, at in zip(logits, first)])
        np.testing.assert_array_equal(first + own.argmax(axis=-1), new)


@pytest.mark.parametrize("voice", [None, random_voice(1, 12)], ids=["none", "voice"])
def test_fine_training_reads_what_generation_reads(voice):
    model = lively(functools.partial(FineModel, TINY.fine))
    history = 0 if voice is None else voice.fine.shape[1]
    given = random_voice(5, 60).coarse[:, : TOKENS.max_fine_input_length - history]  # the whole window
    (codes,) = fine.generate(model, TOKENS, [given], [voice], [0], GREEDY)
    example = examples.fine_example(codes, voice, TOKENS, np.random.default_rng(0))
    batch = as_batch(example)
    assert example["begin"] == history
    loss = loop.on_one_device(functools.partial(transformers.codebook_loss, tokens=TOKENS))
    for codebook in range(TOKENS.n_coarse_codebooks, TOKENS.n_fine_codebooks):
        _, figures = loss(model, batch, jnp.int32(codebook))
        assert figures["accuracy"] == 1


def test_the_end_is_a_target_unless_the_tokens_run_out():
    ids = np.array([TOKENS.text_encoding_offset], np.int32)
    short = examples.semantic_example(ids, random_units(0, 4), None, TOKENS)
    assert short["targets"].tolist() == [*random_units(0, 4), TOKENS.eos_token_id]
    assert short["inputs"].tolist() == [TOKENS.semantic_infer_token, *random_units(0, 4)]
    long = examples.semantic_example(ids, random_units(0, TOKENS.max_new_tokens), None, TOKENS)
    assert TOKENS.eos_token_id not in long["targets"]


def test_padding_teaches_nothing():
    model = lively(functools.partial(GPT, TINY.semantic))
    ids = np.array([TOKENS.text_encoding_offset], np.int32)
    alone = [examples.semantic_example(ids, random_units(i, n), None, TOKENS) for i, n in enumerate((4, 30))]
    loss = loop.on_one_device(functools.partial(transformers.semantic_loss, tokens=TOKENS, step=jnp.int32(0)))
    losses = [float(loss(model, examples.stack([example]))[0]) for example in alone]
    together = float(loss(model, examples.stack(alone))[0])
    counts = [len(example["targets"]) for example in alone]
    assert together == pytest.approx(np.average(losses, weights=counts), rel=1e-5)


# Runs


def test_a_run_becomes_a_checkpoint_that_speaks(run, tmp_path):
    run.checkpoint(tmp_path, generation={"semantic_temperature": 0.1})
    bark = bark_jax.load(tmp_path)
    assert bark.tokens == dataclasses.replace(TOKENS, semantic_temperature=0.1)
    speech = bark.generate("hello 7", max_seconds=0.5, progress=False)
    assert speech.fine.shape[0] == TOKENS.n_fine_codebooks
    assert units.load(tmp_path, TOKENS.semantic_rate_hz).centres.shape == (TOKENS.semantic_vocab_size, 70)
    for name, network in (("semantic", run.semantic()), ("coarse_acoustics", run.coarse())):
        expected = jax.tree.map(lambda x: x.astype(jnp.float16).astype(jnp.float32), nnx.state(network))
        jax.tree.map(np.testing.assert_array_equal, expected, nnx.state(bark.networks[name]))


@pytest.mark.once
def test_transformers_loads_a_run_and_computes_the_same(run, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    run.checkpoint(tmp_path)
    theirs = transformers.BarkModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ours: Bark = bark_jax.load(tmp_path)
    codes = random_voice(0, 20).fine
    with torch.no_grad():
        sound = theirs.codec_decode(torch.tensor(codes)[None]).numpy()[0]
    np.testing.assert_allclose(ours.decode(codes), sound.reshape(-1), atol=1e-5)
    words = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert words("My 21 dogs!").input_ids == ours.tokenizer.encode("My 21 dogs!").ids


@pytest.mark.once
def test_a_checkpoint_is_judged_stage_by_stage(run, recordings, tmp_path):
    run.checkpoint(tmp_path)
    bark = bark_jax.load(tmp_path)
    few = shutil.copytree(recordings, tmp_path / "few")
    lines = (few / "metadata.csv").read_text(encoding="utf-8").splitlines()[:2]
    (few / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    found = evaluate.evaluate(bark, recordings=few, former=bark, use=["whisper"])
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [
        *("teacher", "codec, 8 books", "codec, 4 books", "codec, 2 books", "+ fine", "+ coarse"),
        *("+ semantic", "+ semantic, 4 books", "+ semantic, 2 books", "no voice", "former", "shuffled"),
    ]
    assert found["found"]["teacher"]["texts"] == TEXTS[:2]
    assert len(found["found"]["no voice"]["heard"]) == 2
    assert found["found"]["former"]["heard"] == found["found"]["no voice"]["heard"]
    assert all(row["wrong"] > 0.5 for row in rows.values())  # tones are no words
    distances = [rows[name]["mel"] for name in ("codec, 8 books", "codec, 2 books", "+ fine")]
    assert min(distances) > 0
    prepared = evaluate.read_recordings(run.folder / "prepared", bark.sample_rate)
    again = evaluate.read_recordings(recordings, bark.sample_rate)
    assert (prepared.texts, prepared.speakers) == (again.texts, again.speakers)
    np.testing.assert_array_equal(prepared.sounds[1], again.sounds[1])


@pytest.mark.once
def test_training_the_decoder_alone_leaves_the_codes(run, tmp_path):
    steps = loop.REPORT_STEPS * 2
    how = dataclasses.replace(TINY.codec_training, steps=steps, decoder_from=0.0)
    before = nnx.state(run.codec())
    after = nnx.state(codec_training.train(TINY.codec, how, run.recordings, tmp_path, begin=run.codec()))
    for part in ("encoder", "quantizer"):
        jax.tree.map(np.testing.assert_array_equal, before[part], after[part])
    first, last = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert last["mel"] < first["mel"]


class Stopped(KeyboardInterrupt):
    pass


def train_codec(run, folder):
    return nnx.state(codec_training.train(TINY.codec, TINY.codec_training, run.recordings, folder))


@pytest.fixture(scope="module")
def uninterrupted(run, tmp_path_factory):
    return train_codec(run, tmp_path_factory.mktemp("whole"))


@pytest.mark.once
@pytest.mark.parametrize("at", [3, 6, 7])  # the codebooks begin at 4, the decoder is alone from 7
def test_an_interrupted_run_ends_as_an_uninterrupted_one(run, uninterrupted, tmp_path, monkeypatch, at):
    add = loop.Log.add

    def stop(self, step, losses):
        add(self, step, losses)
        if self.path.parent.name == "parts" and step == at:
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(loop.Log, "add", stop)
        with pytest.raises(Stopped):
            train_codec(run, tmp_path / "parts")
    assert (tmp_path / "parts" / "state").is_dir()
    resumed = train_codec(run, tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, uninterrupted, resumed)


def test_training_ends_when_its_time_is_up_and_goes_on_counting(tmp_path):
    """The learning rate follows the clock then; what an interrupted run took counts."""
    seen = []

    def batch(step):
        time.sleep(0.02)
        return {"x": np.zeros((2, 1), np.float32)}

    def update(state, batch, moment):
        return {"sum": state["sum"] + batch["x"].sum() + 1}, {"progress": moment.progress}

    def train(seconds):
        return loop.run(update, lambda: {"sum": jnp.float32(0)}, batch, tmp_path, steps=10**9, seconds=seconds)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "REPORT_STEPS", 5)
        patched.setattr(loop, "COMPILED_STEPS", 1)  # for these batches take time
        patched.setattr(loop, "append", lambda path, line: (seen.append(json.loads(line)), files.append(path, line)))
        steps = int(train(1.5)["sum"])
        again = train(2.5)
    assert 5 < steps < 75
    assert seen[0]["progress"] < seen[1]["progress"] < 1
    assert 0 < int(again["sum"]) - steps < 60
    assert seen[-1]["seconds"] <= 2.6


def test_the_learning_rate_warms_up_and_decays():
    rate = functools.partial(loop.learning_rate, 2.0, steps=10_000)
    at = [float(rate(loop.Moment(jnp.int32(step), jnp.float32(progress)))) for step, progress in
          ((0, 0.0), (50, 0.0), (100, 0.0), (5_000, 0.5), (10_000, 1.0))]  # fmt: skip
    np.testing.assert_allclose(at, [0, 1, 2, 1.03, 0.06], rtol=1e-3)


def test_muon_is_for_the_kernels_of_blocks_alone():
    """Their steps are as long in all directions; all else takes Adam's."""
    _, params = nnx.split(transformers.fresh(functools.partial(GPT, TINY.coarse), 0))
    gradients = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), params)
    steps = {}
    for name in ("muon", "adam"):
        optimizer = getattr(loop, name)(b1=0.9, b2=0.98)
        moved, _ = loop.descend(optimizer, gradients, params, optimizer.init(params), jnp.float32(1))
        steps[name] = jax.tree.map(jnp.subtract, params, moved)
    pairs = zip(jax.tree_util.tree_leaves_with_path(steps["muon"]), jax.tree.leaves(steps["adam"]))
    for (path, step), adams in pairs:
        if "blocks" in jax.tree_util.keystr(path) and step.ndim == 2:
            singular = np.linalg.svd(step, compute_uv=False)
            assert singular.min() > 0.5 * singular.max()
            assert np.sqrt(np.mean(step**2)) == pytest.approx(0.2, rel=0.2)
        else:
            np.testing.assert_array_equal(np.sign(step), np.sign(adams))
            # The first step of Adam is 1, with Nesterov's momentum longer.
            assert 0.9 < np.abs(step).min() <= np.abs(step).max() < 1.6


def test_a_run_goes_on_on_another_number_of_devices(tmp_path):
    """What a CPU began a GPU finishes: the saved state names no device."""
    code = """
import os, sys
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[1]}"
import jax.numpy as jnp, numpy as np
from pathlib import Path
from bark_jax.train import loop
update = lambda state, batch, moment: ({"x": state["x"] * 0.5 + moment.step}, {"loss": state["x"]})
state = loop.run(update, lambda: {"x": jnp.float32(1)}, lambda step: np.zeros((4, 1), np.float32),
                 Path(sys.argv[3]), steps=int(sys.argv[2]))
print("x", float(state["x"]))
"""

    def train(devices, steps, folder):
        arguments = [sys.executable, "-c", code, str(devices), str(steps), str(tmp_path / folder)]
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()[-1]

    train(4, 3, "moved")
    assert train(1, 6, "moved") == train(1, 6, "whole") == "x 8.078125"


def test_the_first_codebook_counts_most_in_the_coarse_loss():
    model = lively(functools.partial(GPT, TINY.coarse))
    voice = random_voice(3, 20)
    ids = np.asarray(coarse.flatten_codebooks(voice.coarse, TOKENS))[None]
    batch = {
        "prompt": np.full((1, 1, TOKENS.max_coarse_input_length), TOKENS.coarse_semantic_pad_token, np.int32),
        "inputs": np.concatenate([[[TOKENS.coarse_infer_token]], ids[:, :-1]], axis=1),
        "targets": ids,
    }
    loss, _ = loop.on_one_device(functools.partial(transformers.coarse_loss, model, tokens=TOKENS, step=jnp.int32(0)))(
        batch
    )
    logits = np.asarray(next_logits(model, batch["prompt"], batch["inputs"])[0], np.float64)
    of_each = []
    for row, target in zip(logits, ids[0], strict=True):
        first = (
            TOKENS.coarse_offset(0) + (target - TOKENS.coarse_offset(0)) // TOKENS.codebook_size * TOKENS.codebook_size
        )
        own = row[first : first + TOKENS.codebook_size]
        of_each.append(np.log(np.exp(own).sum()) - row[target])
    assert float(loss) == pytest.approx((3 * np.mean(of_each[::2]) + np.mean(of_each[1::2])) / 4, rel=1e-4)


def test_what_is_done_once_is_done_once(tmp_path):
    """Before a step, or from a share of the training on; not again by a run that goes on."""
    done = []
    before = {2: lambda state: done.append("step 2") or state, 0.5: lambda state: done.append("half") or state}

    def update(state, batch, moment):
        return {"x": state["x"] + batch.mean()}, {"loss": jnp.float32(0)}

    for steps, expected in ((4, ["step 2", "half"]), (4, []), (9, ["half"])):
        loop.run(update, lambda: {"x": jnp.float32(0)}, lambda step: np.ones((1, 1), np.float32), tmp_path,
                 steps=steps, before=before)  # fmt: skip
        assert done == expected
        done.clear()


def test_batches_of_all_lengths_are_compiled_before_the_first_step(tmp_path, monkeypatch):
    """A length that is not among the first batches is compiled when it comes."""
    lengths, traced, compile_all = (3, 5, 3, 3, 3, 5, 7), [], loop.compile_all

    def batch(step):
        return np.full((2, lengths[step]), step, np.float32)

    def update(state, batch, moment):
        traced.append(batch.shape[1])
        return {"sum": state["sum"] + jax.lax.psum(batch.sum(), loop.DATA)}, {"loss": state["sum"]}

    def listen(*args):
        programs = compile_all(*args)
        traced.append("compiled")
        return programs

    monkeypatch.setattr(loop, "COMPILED_STEPS", 6)
    monkeypatch.setattr(loop, "compile_all", listen)
    made = loop.run(update, lambda: {"sum": jnp.float32(0)}, batch, tmp_path, steps=7)
    assert traced == [3, 5, "compiled", 7]
    assert made["sum"] == 2 * sum(step * length for step, length in enumerate(lengths))


def test_parts_are_made_once(run, monkeypatch):
    monkeypatch.setattr(loop, "run", None)
    before = nnx.state(run.semantic())
    again = Run(run.folder, TINY)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(again.semantic()))


def test_losses_are_logged(run):
    with open(run.folder / "recipe.json", encoding="utf-8") as file:
        assert recipe.Recipe.from_dict(json.load(file)) == TINY
    for part in ("codec", "semantic", "coarse", "fine"):
        lines = [json.loads(line) for line in (run.folder / part / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [4, 8]
        assert all(line["mel" if part == "codec" else "loss"] > 0 for line in lines)


@pytest.mark.once
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_lowers_the_loss(run, tmp_path, dtype):
    how = dataclasses.replace(TINY.semantic_training, steps=loop.REPORT_STEPS * 2, batch=8, rate=1e-2, dtype=dtype)
    with jax.numpy_dtype_promotion("standard"):  # flax's LayerNorm mixes the two
        transformers.train_semantic(TINY.semantic, TOKENS, run.tokens(), how, tmp_path)
    first, last = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert last["loss"] < 0.8 * first["loss"]
    assert (first["step"], last["step"]) == (50, 100)


@pytest.mark.once
def test_a_run_can_begin_with_a_checkpoint(run, recordings, tmp_path):
    """At a rate of 0 what is trained further stays what it was; only codebooks follow their averages."""
    run.checkpoint(tmp_path / "first", dtype=np.float32)
    (tmp_path / "first" / "units.json").write_text('["silence", "s 1/3", "s 2/3", "s 3/3"]')
    still = {
        f"{part}_training": dataclasses.replace(getattr(TINY, f"{part}_training"), rate=0.0, steps=1)
        for part in ("codec", "semantic", "coarse", "fine")
    }
    again = Run(tmp_path / "run", dataclasses.replace(TINY, **still), recordings, begin=tmp_path / "first")
    np.testing.assert_allclose(
        again.units().centres, run.units().centres, atol=0.01
    )  # a checkpoint has them in half precision
    for part in ("codec", "semantic", "coarse", "fine"):
        before, after = (nnx.state(getattr(which, part)()) for which in (run, again))
        if part == "codec":
            before, after = before["encoder"], after["encoder"]
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), before, after)
    again.checkpoint(tmp_path / "second")
    assert json.loads((tmp_path / "second" / "units.json").read_text()) == ["silence", "s 1/3", "s 2/3", "s 3/3"]
    other = Run(tmp_path / "other", recipe.NANO, recordings, begin=tmp_path / "first")
    with pytest.raises(ValueError, match="has a codec_model of another size"):
        other.codec()


@pytest.mark.parametrize("part", ["semantic", "coarse"])
def test_the_input_tokens_are_corrupted_and_nothing_else(run, tmp_path, monkeypatch, part):
    seen, train = [], getattr(transformers, f"train_{part}")
    monkeypatch.setattr(loop, "run", lambda update, start, batch, folder, **_: seen.append(batch(0)) or start())
    for corrupted in (0.0, 0.8 if part == "coarse" else 0.5):
        how = dataclasses.replace(getattr(TINY, f"{part}_training"), corruption_rate=corrupted, batch=6)
        known = {"entries": run.codec().quantizer.codebooks[...], "unit_vectors": run.units().vectors}
        more = known if part == "coarse" else {}
        train(getattr(TINY, part), TOKENS, run.tokens(), how, tmp_path, **more)
    clean, noisy = seen
    np.testing.assert_array_equal(clean["targets"], noisy["targets"])
    np.testing.assert_array_equal(clean["prompt"], noisy["prompt"])
    counts = clean["targets"] != batches.IGNORED
    assert 0.2 < (clean["inputs"] != noisy["inputs"])[counts].mean() < 0.6
    first = {"semantic": TOKENS.semantic_infer_token, "coarse": TOKENS.coarse_infer_token}[part]
    assert (noisy["inputs"][:, 0] == first).all()
    if part == "coarse":  # no row, a little of the next, most of the last; an id stays one of its codebook
        changed = [(a != b)[kept].mean() for a, b, kept in zip(clean["inputs"], noisy["inputs"], counts, strict=True)]
        np.testing.assert_allclose(changed, np.linspace(0, 0.8, 6), atol=0.15)
        q = [(np.asarray(x["inputs"])[:, 1:] - TOKENS.coarse_offset(0)) // TOKENS.codebook_size for x in seen]
        np.testing.assert_array_equal(*(each[counts[:, 1:]] for each in q))


def test_copies_are_other_recordings_of_the_same_texts(run):
    """Other speakers say the same at their own pitch, each always alike, so that one of them can be a voice."""
    prepared = run.recordings
    one, again, other = (data.PerturbedCopy(prepared, number) for number in (1, 1, 2))
    for i in range(len(prepared)):
        np.testing.assert_array_equal(one[i], again[i])
        assert one[i].dtype == np.float32
        assert np.abs(one[i]).max() <= 1
        pace = len(one[i]) / len(prepared[i])  # the speed of the one speaker of them all, and a part of a frame
        assert pace == pytest.approx(len(one[0]) / len(prepared[0]), abs=0.04)
        assert not np.array_equal(one[i], other[i])
    tokens, more = run.tokens(), run.tokens(copies=2)
    assert len(more) == 3 * len(tokens)
    np.testing.assert_array_equal(
        np.concatenate(tokens.codes, axis=1), np.concatenate(more.codes[: len(tokens)], axis=1)
    )
    assert len(set(more.speakers)) == 3
    assert len({codes.tobytes() for codes in more.codes}) == len(more)


@pytest.mark.once
def test_a_lookahead_is_trained_and_left_out_of_the_model(run, tmp_path):
    how = dataclasses.replace(TINY.semantic_training, lookahead_weight=0.5, steps=loop.REPORT_STEPS, rate=1e-2)
    model = transformers.train_semantic(TINY.semantic, TOKENS, run.tokens(), how, tmp_path)
    logged = json.loads((tmp_path / "log.jsonl").read_text())
    assert logged["lookahead"] < np.log(TOKENS.eos_token_id + 1)
    assert nnx.state(model).keys() == nnx.state(run.semantic()).keys()


def test_coarse_tables_begin_with_what_is_known(run, tmp_path, monkeypatch):
    """Products of rows are those of the vectors that they stand for, and positions of one time are near."""
    monkeypatch.setattr(loop, "run", lambda update, start, batch, folder, **_: start())
    entries, vectors = run.codec().quantizer.codebooks[...], run.units().vectors
    model = transformers.train_coarse(
        TINY.coarse, TOKENS, run.tokens(), TINY.coarse_training, tmp_path, entries=entries, unit_vectors=vectors
    )
    table, units = model.token_embedding.embedding[...], TOKENS.semantic_vocab_size
    ids = slice(units, units + TOKENS.n_coarse_codebooks * TOKENS.codebook_size)
    codes = entries[: TOKENS.n_coarse_codebooks].reshape(-1, entries.shape[2])
    for rows, alike in ((table[ids], codes), (model.head.kernel[:, ids].T, codes)):
        products = [x @ x.T for x in (rows, alike)]
        np.testing.assert_allclose(*(x / np.abs(x).max() for x in products), atol=1e-4)
    positions, p = model.position_embedding.embedding[...], TOKENS.max_coarse_input_length
    near = positions[:p] @ positions[p:].T
    at = np.arange(0, TOKENS.sliding_window_len, 7)  # codes of the first window, and the units of their time
    np.testing.assert_allclose(near[:, at].argmax(axis=0), at / TOKENS.coarse_per_semantic, atol=1.0)
    others = nnx.state(transformers.fresh(functools.partial(GPT, TINY.coarse), TINY.coarse_training.seed))
    np.testing.assert_array_equal(table[ids.stop :], others["token_embedding"]["embedding"][...][ids.stop :])


def test_fine_tables_begin_as_the_entries_of_the_codec(run, tmp_path, monkeypatch):
    """Turned, and of another size: what is near is near, and sums of them are as near to each other."""
    monkeypatch.setattr(loop, "run", lambda update, start, batch, folder, **_: start())
    codebooks = run.codec().quantizer.codebooks[...]
    entries, more = codebooks[: TINY.fine.n_codes_total], jnp.concatenate([codebooks] * 2)  # EnCodec has 32
    model = transformers.train_fine(TINY.fine, TOKENS, run.tokens(), TINY.fine_training, tmp_path, entries=more)
    tables = model.codebook_embeddings[:, : TOKENS.codebook_size]
    products = [np.einsum("qd,rd->qr", x, x) for x in (entries.sum(axis=0), tables.sum(axis=0))]
    np.testing.assert_allclose(*(x / np.abs(x).max() for x in products), atol=1e-4)


@pytest.mark.parametrize(("kind", "cfg"), [(GPT, TINY.semantic), (FineModel, TINY.fine)])
def test_no_two_kernels_begin_alike(kind, cfg):
    make = functools.partial(kind, dataclasses.replace(cfg, num_layers=2))
    drawn = [x.ravel()[:4] for x in jax.tree.leaves(nnx.state(transformers.fresh(make, seed=0))) if x.ndim > 1]
    assert len({tuple(np.round(x / x[0], 3).tolist()) for x in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("part", "message"),
    [("coarse", "has no codec yet: train that first"), ("semantic", "has no units yet: train that first")],
)
def test_a_part_names_the_part_that_it_lacks(recordings, tmp_path, part, message):
    made = Run(tmp_path, TINY, recordings)
    if part == "coarse":
        made.units()
    with pytest.raises(ValueError, match=message):
        getattr(made, part)()


def test_a_run_keeps_the_checkpoint_that_it_began_with(run, recordings, tmp_path):
    run.checkpoint(tmp_path / "first")
    Run(tmp_path / "run", TINY, recordings, begin=tmp_path / "first").units()
    again = Run(tmp_path / "run", TINY, recordings)
    assert again.begin == str(tmp_path / "first")
    assert len(again.recordings) == len(TEXTS)
    with pytest.raises(ValueError, match=r"was begun with .*first, not with assets/nano"):
        Run(tmp_path / "run", TINY, begin="assets/nano")
    with pytest.raises(ValueError, match="was begun from nothing, not with"):
        Run(run.folder, TINY, begin=tmp_path / "first")
    with pytest.raises(ValueError, match="nowhere"):
        Run(tmp_path / "other", TINY, begin=tmp_path / "nowhere")


def test_a_run_keeps_its_recordings(run, tmp_path):
    (tmp_path / "metadata.csv").write_text("0|another text\n")
    with pytest.raises(ValueError, match="was begun with other recordings"):
        _ = Run(run.folder, TINY, tmp_path).recordings


@pytest.mark.once
def test_tokens_of_before_are_not_taught_with_a_new_codec(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    folder = tmp_path / "run"
    shutil.rmtree(folder / "codec")
    with pytest.raises(ValueError, match=r"coarse and .*fine learnt the codes of before: remove that too"):
        Run(folder, TINY).codec()
    for part in ("coarse", "fine"):
        shutil.rmtree(folder / part)
    shutil.copy(folder / "codes_lengths.npy", folder / "codes_of_copy_1_lengths.npy")
    Run(folder, TINY).codec()
    assert not list(folder.glob("codes*_lengths.npy"))


def test_words_that_cannot_be_read_are_named(recordings, tmp_path, capsys, monkeypatch):
    looked = []
    monkeypatch.setattr(training_run, "unread", lambda text, tokenizer: looked.append(text) or unread(text, tokenizer))
    shutil.copytree(recordings, tmp_path / "recordings")
    path = tmp_path / "recordings" / "metadata.csv"
    path.write_text(path.read_text().replace("|21 cats|21 cats", "|это cats|"))
    made = Run(tmp_path / "run", TINY, tmp_path / "recordings")
    made.units()
    assert len(made.tokens(codes=False)) == len(TEXTS)
    assert "1 texts have characters that cannot be read, such as э (U+044D)" in capsys.readouterr().out
    assert looked == ["это cats"]  # plain texts are many, and looking is slow


def test_a_run_keeps_its_recipe(tmp_path):
    Run(tmp_path, TINY)
    with pytest.raises(ValueError, match=r"was begun with another recipe, .*\(tokens.* and \d+ more\)"):
        Run(tmp_path, recipe.NANO)
    more = dataclasses.replace(TINY, fine_training=dataclasses.replace(TINY.fine_training, steps=9))
    with pytest.raises(ValueError, match=r"\(fine_training.steps is 8, not 9\): pass that one"):
        Run(tmp_path, more)
    content = TINY.to_dict()
    del content["coarse_training"]["copies"]  # written before there were any
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    Run(tmp_path, TINY)
    (tmp_path / "recipe.json").write_text("[]")
    with pytest.raises(ValueError, match=r"recipe.json is damaged, it is no recipe .*: restore it, or remove it"):
        Run(tmp_path, TINY)


def test_a_damaged_file_of_a_run_is_named(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    for name, ask in {
        "recipe.json": lambda: Run(folder, TINY),
        "prepared/recordings.json": lambda: Run(folder, TINY).recordings,
        "prepared/samples.npy": lambda: Run(folder, TINY).recordings,
        "units_lengths.npy": lambda: Run(folder, TINY).tokens(),
        "codes.npy": lambda: Run(folder, TINY).tokens(),
    }.items():
        whole = (folder / name).read_bytes()
        for part in (b"", whole[: len(whole) // 2], b'{"a":' * 100_000):
            (folder / name).write_bytes(part)
            with pytest.raises(ValueError, match=rf"{Path(name).name}.* damaged.*remove"):
                ask()
        (folder / name).write_bytes(whole)


def test_torn_lines_of_a_log_are_skipped(tmp_path):
    path, line = tmp_path / "log.jsonl", '{"step": 50, "seconds": 1.5, "loss": 2.0}\n'
    path.write_text(
        f'{line}[3]\n{"[" * 100_000}\n{{"step": "x", "seconds": 1}}\n{line.replace("50", "100")}{{"step": 1'
    )
    log = loop.Log(path, 100)
    assert path.read_text() == line + line.replace("50", "100")
    assert 1.5 <= log.elapsed < 60
    loop.Log(path, 50)
    assert path.read_text() == line


def test_a_recipe_whose_sizes_do_not_fit_is_refused(tmp_path):
    content = TINY.to_dict()
    content["fine"]["block_size"] = 32
    content["tokens"]["codebook_size"] = 256
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="max_fine_input_length is 64, the fine model has 32 positions; codebook_size"):
        recipe.read(str(tmp_path / "recipe.json"))


def test_recordings_that_are_all_too_long_are_refused(recordings, tmp_path):
    short = dataclasses.replace(TINY, tokens=dataclasses.replace(TOKENS, max_new_tokens=20))
    made = Run(tmp_path, short, recordings)
    made.units()
    with pytest.raises(
        ValueError, match=r"6 of 6 utterances do not fit the windows of 32 letters and 0\.4 s: cut them"
    ):
        made.semantic()


@pytest.mark.parametrize("name", recipe.RECIPES)
def test_recipes_fit_their_windows(name, tmp_path):
    chosen = recipe.read(name)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(chosen.to_dict()), encoding="utf-8")
    assert recipe.read(str(path)) == chosen
    for part, network in (("semantic", "semantic"), ("coarse", "coarse_acoustics"), ("fine", "fine_acoustics")):
        cfg = getattr(chosen, part)
        assert NETWORKS[network].read_config(dataclasses.asdict(cfg)) == cfg


# Parts


@pytest.mark.parametrize(
    ("name", "make", "cfg"),
    [
        ("semantic", GPT, TINY.semantic),
        ("fine_acoustics", FineModel, TINY.fine),
        ("codec_model", Codec, TINY.codec),
        ("semantic", GPT, dataclasses.replace(TINY.semantic, bias=True)),
    ],
)
def test_tables_read_backwards_give_the_weights_again(name, make, cfg):
    module = make(cfg, rngs=nnx.Rngs(0))
    table = NETWORKS[name].table(cfg)
    again = load_module(functools.partial(make, cfg), table, held(export_tensors(module, table)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), nnx.state(module), nnx.state(again))


def test_units_are_those_of_the_place():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=24_000).astype(np.float32) * scale for scale in (0.1, 0.01))
    centres = np.stack([units.features(x, 24_000, 49.9)[20] for x in (one, other)])
    found = units.encode(np.concatenate([one, other]), centres, 24_000, 49.9)
    assert len(found) == 99
    assert found[:45].tolist() == [0] * 45
    assert found[-45:].tolist() == [1] * 45


def test_k_means_finds_clusters(monkeypatch):
    rng = np.random.default_rng(0)
    where = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    points = np.concatenate([centre + 0.1 * rng.normal(size=(50, 2)) for centre in where]).astype(np.float32)
    centres, nearest = units.k_means(points, 3, seed=0)
    np.testing.assert_allclose(centres[np.argsort(centres @ [1, 2])], where, atol=0.1)
    assert len(set(nearest[:50])) == 1
    with monkeypatch.context() as patched:
        patched.setattr(units, "BLOCK", 7)
        units.nearest.clear_cache()
        np.testing.assert_array_equal(units.nearest(jnp.asarray(points), jnp.asarray(centres)), nearest)
    with pytest.raises(ValueError, match="2 rows for 3 centres"):
        units.k_means(points[:2], 3, seed=0)


def test_dead_entries_are_revived_and_live_ones_follow():
    residuals = jnp.stack([jnp.full((1, 40, 2), 5.0)])
    books = {"entries": jnp.zeros((1, 2, 2)), "sum": jnp.zeros((1, 2, 2)), "count": jnp.array([[10.0, 0.001]])}
    average = loop.on_one_device(codec_training.average_codebooks)
    moved = average(books, jnp.zeros((1, 1, 40), jnp.int32), residuals, jax.random.key(0))
    assert 0 < moved["entries"][0, 0, 0] < 5  # drawn towards what chose it
    np.testing.assert_allclose(moved["entries"][0, 1], 5, rtol=1e-5)  # put upon a latent


def test_codebooks_that_are_not_used_change_no_sound():
    latents = jax.random.normal(jax.random.key(0), (2, 5, 4))
    books = jax.random.normal(jax.random.key(1), (3, 8, 4))
    few, _, codes, _ = codec_training.quantise(latents, books, jnp.array([1, 3]))
    np.testing.assert_allclose(few[0], books[0][codes[0, 0]], rtol=1e-5)
    every = sum(books[q][codes[q, 1]] for q in range(3))
    np.testing.assert_allclose(few[1], every, rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has no metadata.csv"), ("1|hello\n2|\n", "in line 2"), ("", "in line 1"), ("just text\n", "in line 1")],
)
def test_a_folder_that_is_no_recordings_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        data.prepare(tmp_path, tmp_path / "out", 24_000)


def test_a_line_may_lack_its_normalised_text(tmp_path):
    (tmp_path / "metadata.csv").write_text("7|hello|\n8|2|two\n")
    assert data.read_metadata(tmp_path) == [("7", "hello", ""), ("8", "two", "")]


def test_a_recording_of_nothing_has_no_units():
    assert len(units.encode(np.zeros(100, np.float32), np.zeros((3, 70), np.float32), 24_000, 49.9)) == 0


def test_a_missing_recording_is_named(tmp_path):
    (tmp_path / "metadata.csv").write_text("7|hello\n")
    with pytest.raises(ValueError, match=r"7\.wav"):
        data.prepare(tmp_path, tmp_path / "out", 24_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["units", "--config", "huge"], "config is huge: choose one of nano, nano-more, small, tiny"),
        (["codec", "--config", "tiny"], "has no recordings yet: name a folder of them with --data"),
        (["checkpoint", "--config", "tiny", "--steps", "5"], "steps is 5 for checkpoint"),
        (["codec", "--config", "tiny", "--steps", "0"], "steps is 0 for codec"),
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(loop, "use_all_cores", lambda count: None)
    assert command_line.main(["train", *arguments, "-o", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_other_steps_are_those_of_one_part():
    made = training_command.changed(recipe.NANO, "codec", "steps", 7)
    assert made.codec_training == dataclasses.replace(recipe.NANO.codec_training, steps=7)
    assert made.semantic_training == recipe.NANO.semantic_training


@pytest.mark.once
def test_the_command_line_trains_a_part(recordings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "use_all_cores", lambda count: None)
    arguments = ["--data", str(recordings), "--config", "tiny", "-o", str(tmp_path / "run")]
    assert command_line.main(["train", "units", *arguments]) == 0
    assert "units is done" in capsys.readouterr().out
    assert command_line.main(["train", "semantic", *arguments, "--steps", "2", "--batch", "2"]) == 0
    assert "semantic is done" in capsys.readouterr().out
    assert command_line.main(["train", "semantic", *arguments, "--steps", "9"]) == 0
    assert f"semantic was done before, and is kept: to make it anew remove {tmp_path}" in capsys.readouterr().out
    assert Run(tmp_path / "run", TINY).semantic().cfg == TINY.semantic  # the run keeps the recipe itself
