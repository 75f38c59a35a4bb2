"""The journey of a sentence through the stages: one drawing of all, and one for each notebook."""

from shapes import INK, LINE, SOFT, Drawing

from bark_jax.notebook import COLORS

CAPTIONS = (
    ('"Hello, my dog…"', "≤ 256 ids"),
    ("which sounds", "(s,)  49.9 Hz"),
    ("2 codebooks", "(2, t)  75 Hz"),
    ("8 codebooks", "(8, t)  75 Hz"),
    ("24 kHz sound", "(320 t,)"),
)
STEPS = (
    ("semantic.py", "GPT, causal"),
    ("coarse.py", "GPT, causal"),
    ("fine.py", "transformer, full"),
    ("codec.py", "EnCodec"),
)


def journey(shown: tuple[str, ...] = (), caption: str = "") -> Drawing:
    """Draw the journey of a sentence; with `shown`, these steps stand out and the others are pale."""
    drawing = Drawing(980, 200, "The journey of a sentence")
    for i, ((name, color), (what, shape)) in enumerate(zip(COLORS.items(), CAPTIONS, strict=True)):
        x = 10 + 207 * i
        files = [STEPS[j][0] for j in (i - 1, i) if 0 <= j < len(STEPS)]
        strong = not shown or bool(set(files) & set(shown))
        ink = "#fff" if strong else INK  # white cannot be read on a pale box
        drawing.box(x, 60, 132, 84, color, radius=10, opacity=1 if strong else 0.3)
        drawing.text(x + 66, 88, name, size=17, weight=600, fill=ink)
        drawing.text(x + 66, 110, what, fill=ink)
        drawing.text(x + 66, 130, shape, fill=ink)
    for i, (file, what) in enumerate(STEPS):
        x = 148 + 207 * i
        strong = file in shown
        drawing.arrow(x, 102, x + 63, 102, stroke=INK if strong else LINE)
        drawing.text(x + 32, 26, file, fill=INK if strong else SOFT, weight=700 if strong else 400)
        drawing.text(x + 32, 43, what, fill=INK if strong else SOFT)
    drawing.text(490, 176, caption)
    return drawing


def pipeline() -> Drawing:
    return journey(caption="a voice (.npz) is the tokens of another recording: each stage continues its own")


def journey_1() -> Drawing:
    return journey(caption="this notebook: the whole journey")


def journey_2() -> Drawing:
    return journey(("none",), "this notebook: how files become the four networks")


def journey_3() -> Drawing:
    return journey(("semantic.py",), "this notebook: text to semantic tokens")


def journey_4() -> Drawing:
    return journey(("coarse.py",), "this notebook: semantic tokens to the two coarse codebooks")


def journey_5() -> Drawing:
    return journey(("fine.py",), "this notebook: two codebooks to eight")


def journey_6() -> Drawing:
    return journey(("codec.py",), "this notebook: codes to sound, and sound to codes")


def journey_7() -> Drawing:
    return journey(caption="this notebook: everything together, as fast as the device allows")


def journey_8() -> Drawing:
    return journey(caption="this notebook: how all four networks learn, and where the semantic tokens come from")
