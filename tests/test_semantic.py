"""Text to semantic tokens: against the plain reference and transformers, in batches, and at its ends."""

import hf
import numpy as np
import pytest
import reference
from common import TEXTS, draw_like, ids, voice

from bark_jax import sampling, semantic
from bark_jax.journey import SEMANTIC
from bark_jax.tokens import TokenConfig

SIZES = [{}, {"layers": 1, "heads": 4, "width": 64, "bias": True, "seed": 1}, {"layers": 3, "width": 48, "seed": 2}]


def expected(both, words, own_voice=None, seed=None, **options):
    choose = reference.greedy if seed is None else draw_like(seed, SEMANTIC.stream)
    return reference.semantic(
        both.weights, both.heads, ids(both, words), own_voice, both.tokens, choose=choose, **options
    )


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("words", "history"), [*zip(TEXTS, [None, 4, 16]), (TEXTS[1], 40)])
def test_greedy_tokens_equal_the_reference(pair, sizes, words, history):
    """Histories shorter than the 16 places of the prompt, as long, and longer."""
    both = pair(**sizes)
    own_voice = history and voice(both.tokens, history)
    options = {"temperature": 0, "min_eos_p": None}
    actual = both.ours.text_to_semantic(words, voice=own_voice, **options)
    assert actual.dtype == np.int32
    assert len(actual) == both.tokens.max_new_tokens
    np.testing.assert_array_equal(actual, expected(both, words, own_voice, **options))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("history", [None, 40])
def test_greedy_tokens_equal_transformers(pair, sizes, history):
    """Theirs, too, pads with what it is told, and stops at its end token alone: here none is drawn."""
    torch, both = hf.import_torch(), pair(**sizes)
    own_voice = history and voice(both.tokens, history)
    words = ids(both, TEXTS[0]) - both.tokens.text_encoding_offset
    padded = np.pad(words, (0, 16 - len(words)))[None]
    prompt = None if own_voice is None else {name: torch.tensor(x) for name, x in own_voice.to_dict().items()}
    config = both.theirs.generation_config.semantic_config
    theirs = both.theirs.semantic.generate(
        torch.tensor(padded),
        attention_mask=torch.tensor((np.arange(16) < len(words)).astype(int))[None],
        semantic_generation_config=_greedy(config),
        history_prompt=prompt,
    )
    ours = both.ours.text_to_semantic(TEXTS[0], voice=own_voice, temperature=0, min_eos_p=None)
    np.testing.assert_array_equal(ours, theirs[0].numpy())


def _greedy(config):
    from transformers.models.bark.generation_configuration_bark import BarkSemanticGenerationConfig

    return BarkSemanticGenerationConfig(**config | {"do_sample": False, "temperature": 1.0, "top_k": None})


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"temperature": 1.3, "top_k": 7},
        {"temperature": 0.9, "top_p": 0.6},
        {"temperature": 1.0, "top_k": 50, "top_p": 0.8, "min_eos_p": 0.01},
        {"temperature": 0.7, "min_eos_p": 0.005},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_sampled_tokens_equal_the_reference_with_our_random_numbers(pair, options, seed):
    both = pair()
    options = {"min_eos_p": 0.2} | options
    for words, own_voice in zip(TEXTS, (None, voice(both.tokens, 10), voice(both.tokens, 30))):
        actual = both.ours.text_to_semantic(words, voice=own_voice, seed=seed, **options)
        np.testing.assert_array_equal(actual, expected(both, words, own_voice, seed, **options))


def test_speech_ends_where_its_end_is_probable_enough(pair):
    both = pair()
    lengths = [len(both.ours.text_to_semantic(TEXTS[0], temperature=1, min_eos_p=p)) for p in (0.5, 0.01, 0.001)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == both.tokens.max_new_tokens > lengths[-1]
    for p, length in zip((0.5, 0.01, 0.001), lengths):
        assert len(expected(both, TEXTS[0], seed=0, temperature=1, min_eos_p=p)) == length


def test_a_row_of_a_batch_is_the_text_alone(pair):
    """Rows end at different places: by their own limit, by the probable end, or not at all."""
    both = pair()
    voices = [None, voice(both.tokens, 10), voice(both.tokens, 40)]
    seeds, limits = [3, 4, 5], [0.1, None, 0.3]
    for temperature in (0, 0.8):
        options = {"temperature": temperature, "min_eos_p": 0.004}
        together = both.ours.text_to_semantic(TEXTS, voice=voices, seed=seeds, max_seconds=limits, **options)
        assert len({len(row) for row in together}) > 1
        for words, own_voice, seed, limit, row in zip(TEXTS, voices, seeds, limits, together, strict=True):
            alone = both.ours.text_to_semantic(words, voice=own_voice, seed=seed, max_seconds=limit, **options)
            np.testing.assert_array_equal(row, alone)


@pytest.mark.parametrize(("seconds", "count"), [(0.001, 1), (0.1, 5), (0.2, 10), (0.4, 20), (9, 24)])
def test_the_token_that_passes_the_limit_is_the_last(pair, seconds, count):
    """At 49.9 Hz: 5 tokens are 0.1002 s, 10 are 0.2004 s."""
    both = pair()
    assert len(both.ours.text_to_semantic("Hello", min_eos_p=None, max_seconds=seconds)) == count
    assert len(expected(both, "Hello", seed=0, min_eos_p=None, max_seconds=seconds)) == count


def test_limits_of_bark():
    tokens = TokenConfig()
    assert semantic.token_limit(None, tokens) == 768
    assert semantic.token_limit(1, tokens) == 50  # 49 tokens are 0.98 s, 50 are 1.002 s
    assert semantic.token_limit(10, tokens) == 500  # 499 tokens are 10 s to the digit: not above
    assert semantic.token_limit(1e300, tokens) == 768


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_refused(pair, seconds):
    with pytest.raises(ValueError, match=r"max_seconds is .*, it must be above 0, or None"):
        pair().ours.text_to_semantic("Hello", max_seconds=seconds)


def test_windows_of_steps_join_without_a_seam(pair, monkeypatch):
    both = pair()
    whole = both.ours.text_to_semantic(TEXTS[0], min_eos_p=None)
    for steps in (1, 5, 23):
        monkeypatch.setattr(semantic, "WINDOW_STEPS", steps)
        np.testing.assert_array_equal(both.ours.text_to_semantic(TEXTS[0], min_eos_p=None), whole)


@pytest.mark.parametrize(("min_eos_p", "count", "times"), [(None, 24, 1), (0.005, 9, 0)])
def test_a_cache_grows_when_it_must_and_says_the_same(pair, monkeypatch, min_eos_p, count, times):
    """The second speech ends in the window that fills the small cache: nobody needs a larger one."""
    both, grown, grow = pair(), [], sampling._grow
    options = {"temperature": 0.7, "min_eos_p": min_eos_p}
    whole = both.ours.text_to_semantic(TEXTS[0], **options)
    assert len(whole) == count
    monkeypatch.setattr(sampling, "FIRST_SLOTS", 32)
    monkeypatch.setattr(semantic, "WINDOW_STEPS", 8)
    monkeypatch.setattr(sampling, "_grow", lambda state, slots: grown.append(slots) or grow(state, slots))
    np.testing.assert_array_equal(both.ours.text_to_semantic(TEXTS[0], **options), whole)
    assert len(grown) == times


def test_progress_is_told(pair):
    both, reports = pair(), []
    from bark_jax.sampling import Controls

    semantic.generate(
        both.ours.semantic_model, both.tokens, [ids(both, "Hello")], [None], [0], Controls.from_user(1), limits=[20],
        early_stop=False, on_progress=lambda done, total: reports.append((done, total)),
    )  # fmt: skip
    assert reports[-1] == (20, 20)
