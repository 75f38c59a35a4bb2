"""Draw the SVGs of the README and the notebooks: `make drawings`.

Each drawing is a function that returns a `Drawing`; its file has the name of the function, with dashes.
One visual language: the stages have the colours of `bark_jax.notebook.COLORS` everywhere, and every drawing
lies on a light card of its own, so that it reads the same on a white page and on a black one.
"""

import math
from pathlib import Path
from xml.sax.saxutils import escape

from bark_jax.notebook import COLORS

GREY, BLUE, GREEN, ORANGE, RED = COLORS.values()
CARD, INK, SOFT, LINE, PALE = "#f8fafc", "#1f2937", "#57606a", "#8b949e", "#e5e7eb"
CAPTIONS = (
    ('"Hello, my dog…"', "≤ 256 ids"),
    ("what is said", "(s,)  49.9 Hz"),
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


class Drawing:
    """Collect the shapes of one SVG; x to the right, y down, in pixels."""

    def __init__(self, width: int, height: int, label: str):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(label)}">',
            f'<rect width="{width}" height="{height}" rx="14" fill="{CARD}"/>',
        ]

    def box(self, x, y, width, height, fill, *, stroke="none", radius=6, opacity=1.0, dash=""):
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" fill="{fill}" '
            f'stroke="{stroke}" opacity="{opacity:g}"{dashed}/>'
        )

    def text(self, x, y, words, *, size=12.5, fill=SOFT, weight=400, anchor="middle", mono=False):
        family = ' font-family="ui-monospace, monospace"' if mono else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" fill="{fill}" '
            f'text-anchor="{anchor}"{family}>{escape(words)}</text>'
        )

    def line(self, x1, y1, x2, y2, *, stroke=LINE, width=2.0, dash=""):
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{stroke}" stroke-width="{width:g}" fill="none"{dashed}/>'
        )

    def arrow(self, x1, y1, x2, y2, *, stroke=LINE):
        """Draw a straight arrow, along an axis, with its tip at (x2, y2)."""
        dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
        self.line(x1, y1, x2 - 8 * dx, y2 - 8 * dy, stroke=stroke)
        base_x, base_y = x2 - 9 * dx, y2 - 9 * dy
        self.parts.append(
            f'<path d="M{base_x - 6 * dy:g} {base_y - 6 * dx:g}L{x2:g} {y2:g}'
            f'L{base_x + 6 * dy:g} {base_y + 6 * dx:g}z" fill="{stroke}"/>'
        )

    def cells(self, x, y, size, fills, labels=None, *, height=None, ink="#fff"):
        """Draw a row of cells, with a label in each."""
        for i, fill in enumerate(fills):
            self.box(x + i * size, y, size - 2, (height or size) - 2, fill, radius=3)
            if labels:
                middle = y + (height or size) / 2 + 3.5
                self.text(x + i * size + size / 2 - 1, middle, labels[i], size=11, fill=ink if fill != PALE else INK)

    def svg(self) -> str:
        return "\n".join([*self.parts, "</svg>\n"])


def journey(shown: tuple[str, ...] = (), caption: str = "") -> Drawing:
    """Draw the journey of a sentence; with `shown`, these steps stand out and the others are pale."""
    drawing = Drawing(980, 200, "The journey of a sentence")
    for i, ((name, color), (what, shape)) in enumerate(zip(COLORS.items(), CAPTIONS, strict=True)):
        x = 10 + 207 * i
        files = [STEPS[j][0] for j in (i - 1, i) if 0 <= j < len(STEPS)]
        drawing.box(x, 60, 132, 84, color, radius=10, opacity=1 if not shown or set(files) & set(shown) else 0.4)
        drawing.text(x + 66, 88, name, size=17, weight=600, fill="#fff")
        drawing.text(x + 66, 110, what, fill="#fff")
        drawing.text(x + 66, 130, shape, fill="#fff")
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
    return journey(("none",), "this notebook: how files become the four networks behind the arrows")


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
    return journey(caption="this notebook: how all four networks learn, and the units between the first two")


def semantic_prompt() -> Drawing:
    """Draw what the semantic model reads: text and voice on the same positions, INFER, then its own tokens."""
    drawing = Drawing(980, 264, "The prompt of the semantic model: text and voice over each other, INFER, new tokens")
    x, size = 172, 46
    for y, name, color, labels, pads in (
        (42, "text ids", GREY, ("t0", "t1", "t2", "t3", "…", "t9"), 4),
        (104, "voice", BLUE, ("s0", "s1", "s2", "s3", "s4", "s5", "…", "s8"), 2),
    ):
        drawing.text(x - 16, y + 27, name, anchor="end", fill=color, weight=600)
        labels = labels + ("pad",) * (pads - 1) + ("… pad",)
        fills = [color] * (len(labels) - pads) + [PALE] * pads
        drawing.cells(x, y, size, fills, labels)
    drawing.text(x + 5 * size - 1, 99, "+", size=20, fill=INK, weight=600)
    infer = x + 10 * size + 14
    drawing.box(infer, 42, 62, 106, INK, radius=6)
    drawing.text(infer + 31, 99, "INFER", fill="#fff", weight=600)
    for i, label in enumerate(("n0", "n1", "n2", "…")):
        drawing.box(infer + 76 + i * size, 73, size - 2, 44, "none", stroke=BLUE, radius=3, dash="4 3")
        drawing.text(infer + 76 + i * size + 22, 99, label, fill=BLUE, size=11)
    drawing.text(infer + 76 + 2 * size, 56, "drawn by the model,", fill=BLUE)
    drawing.text(infer + 76 + 2 * size, 140, "one after another", fill=BLUE)
    drawing.box(x, 172, infer + 76 + 4 * size - 2 - x, 34, "#fef3c7", stroke="#d6b656", radius=5)
    drawing.text((x + infer + 76 + 4 * size) / 2, 193, "+ one position vector for each column, added once", fill=INK)
    drawing.text(x - 16, 193, "position", anchor="end", fill=INK, weight=600)
    for place, label in ((x + 22, "0"), (x + 22 + size, "1"), (x + 22 + 2 * size, "2"), (x + 22 + 9 * size, "255")):
        drawing.text(place, 232, label, mono=True)
    drawing.text(x + 22 + 5.5 * size, 232, "…", mono=True)
    drawing.text(infer + 31, 232, "256", mono=True)
    for i in range(3):
        drawing.text(infer + 98 + i * size, 232, str(257 + i), mono=True)
    return drawing


def gpt_block() -> Drawing:
    """Draw a block of the transformer: two branches that leave a stream and add to it."""
    drawing = Drawing(980, 196, "A block: x + attention(norm(x)), then x + mlp(norm(x))")
    stream = 148
    drawing.text(40, stream + 5, "x", size=18, fill=INK, weight=600)
    drawing.text(40, stream + 26, "(t, d)", mono=True, size=11)
    drawing.arrow(62, stream, 918, stream, stroke=INK)
    drawing.text(940, stream + 5, "x", size=18, fill=INK, weight=600)
    for left, name, what, color in (
        (110, "attention", "looks at other positions", INK),
        (530, "MLP", "each position alone", SOFT),
    ):
        drawing.line(left, stream, left, 76, stroke=LINE)
        drawing.arrow(left - 1, 76, left + 32, 76)
        drawing.box(left + 32, 56, 92, 40, "#fff", stroke=LINE)
        drawing.text(left + 78, 80, "layer norm", fill=INK)
        drawing.arrow(left + 124, 76, left + 156, 76)
        drawing.box(left + 156, 46, 150, 60, color, radius=8)
        drawing.text(left + 231, 73, name, size=15, fill="#fff", weight=600)
        drawing.text(left + 231, 92, what, size=11, fill="#fff")
        drawing.line(left + 306, 76, left + 341, 76)
        drawing.arrow(left + 340, 75, left + 340, stream - 14)
        drawing.box(left + 326, stream - 14, 28, 28, "#fff", stroke=INK, radius=14)
        drawing.text(left + 340, stream + 6, "+", size=18, fill=INK, weight=600)
    drawing.text(490, 26, "the stream runs straight through; each branch reads it, and adds what it found")
    return drawing


def kv_cache() -> Drawing:
    """Draw what each step computes without a cache and with one, and the two parts of the package's."""
    drawing = Drawing(980, 372, "Without a cache every step computes every column; with one, only the newest")
    size, steps, prompt = 30, 5, 5
    for left, title, cached in ((96, "without a cache", False), (560, "with a cache", True)):
        drawing.text(left + 5 * size, 28, title, size=15, fill=INK, weight=600)
        for step in range(steps):
            count = prompt + step
            fills = [BLUE if step == 0 or not cached or i == count - 1 else "#bfdbfe" for i in range(count)]
            y = 44 + step * size
            drawing.cells(left, y, size, fills)
            drawing.text(left - 12, y + 19, f"step {step}", anchor="end")
    drawing.box(404, 48, 16, 16, BLUE, radius=3)
    drawing.text(428, 61, "computed", anchor="start")
    drawing.box(404, 74, 16, 16, "#bfdbfe", radius=3)
    drawing.text(428, 87, "kept", anchor="start")
    drawing.line(30, 214, 950, 214, stroke=PALE)
    drawing.text(30, 242, "the package keeps two parts", size=15, fill=INK, weight=600, anchor="start")
    top = 258
    drawing.text(84, top + 20, "past", anchor="end", fill=INK, weight=600)
    drawing.cells(96, top, size, ["#bfdbfe"] * 11 + [PALE] * 6)
    drawing.text(96 + 17 * size + 16, top + 20, "only read while the loop runs", anchor="start")
    under = 96 + 11 * size
    drawing.text(under - 12, top + 74, "recent", anchor="end", fill=INK, weight=600)
    drawing.cells(under, top + 54, size, [BLUE] * 4 + [PALE] * 2)
    drawing.text(under + 6 * size + 16, top + 74, "one slot is written at each step", anchor="start")
    for i in range(4):
        drawing.arrow(under + i * size + 14, top + 53, under + i * size + 14, top + 31, stroke=INK)
    drawing.text(96, top + 74, "commit() copies, once for each window", anchor="start", fill=INK)
    return drawing


def tensor_file() -> Drawing:
    """Draw a file of torch.save: entries of a zip, the pickle's stack, a storage and what views it."""
    drawing = Drawing(980, 556, "A file of tensors: a zip of a pickle and storages, a stack machine, three views")
    slate = ["#dbe3ec", "#cbd5e1", "#b6c2d1", "#a2b0c2", "#8e9eb3", "#7b8ca3", "#697b93", "#586a83", "#485a73"]
    slate += ["#394a62", "#2b3b52", "#1e2b40"]  # by the place in the storage
    drawing.text(24, 32, "the file: a zip, not compressed", size=15, fill=INK, weight=600, anchor="start")
    entries = (
        (48, 46, INK, "#fff", "archive/data.pkl", "a program"),
        (98, 28, PALE, INK, "archive/byteorder", "little"),
        (130, 28, PALE, INK, "archive/version", "3"),
        (162, 46, slate[5], "#fff", "archive/data/0", "a storage"),
        (212, 28, slate[1], INK, "archive/data/1", "a storage"),
    )
    for y, height, fill, ink, name, what in entries:
        drawing.box(24, y, 282, height, fill)
        drawing.text(36, y + height / 2 + 4, name, fill=ink, anchor="start", mono=True)
        drawing.text(294, y + height / 2 + 4, what, fill=ink, anchor="end")
    drawing.box(24, 244, 282, 28, "none", stroke=LINE, dash="4 3")
    drawing.text(36, 262, "directory: where each entry begins", anchor="start")

    drawing.arrow(312, 71, 346, 71, stroke=INK)
    drawing.text(354, 32, "the program, step by step", size=15, fill=INK, weight=600, anchor="start")
    drawing.text(616, 32, "the stack after it", size=15, fill=INK, weight=600, anchor="start")
    key, function, storage = (" 'row' ", PALE), ("ƒ", "#c7d2fe"), ("storage 0", slate[5])
    steps = (
        ("an empty dict, the text 'row'", [("{ }", PALE), key]),
        ("GLOBAL _rebuild_tensor_v2", [("{ }", PALE), key, function]),
        ("BINPERSID: fetch storage 0", [("{ }", PALE), key, function, storage]),
        ("numbers, gathered by TUPLE", [("{ }", PALE), key, function, ("(storage 0, 6, (3,), …)", slate[5])]),
        ("REDUCE: call ƒ with them", [("{ }", PALE), key, ("tensor", slate[9])]),
        ("SETITEMS: into the dict", [("{'row': tensor}", slate[9])]),
    )
    for i, (what, stack) in enumerate(steps):
        y, x = 48 + 38 * i, 616
        drawing.text(354, y + 20, what, fill=INK, anchor="start", size=13)
        for label, fill in stack:
            width = 16 + 7.4 * len(label)
            drawing.box(x, y, width, 30, fill, radius=4)
            ink = INK if fill in (PALE, "#c7d2fe") else "#fff"
            drawing.text(x + width / 2, y + 20, label, fill=ink, mono=True, size=12)
            x += width + 4

    drawing.line(24, 294, 956, 294, stroke=PALE)
    drawing.text(24, 324, "storage 0: twelve numbers in a row", size=15, fill=INK, weight=600, anchor="start")
    size = 34

    def number(x, y, place):
        drawing.box(x, y, size - 2, size - 2, slate[place], radius=3)
        drawing.text(x + size / 2 - 1, y + size / 2 + 3.5, str(place), size=11.5, fill="#fff" if place > 3 else INK)

    for place in range(12):
        number(24 + size * place, 338, place)
    for x, name, shape, offset, strides, parts in (
        (24, "table", (4, 3), 0, (3, 1), ("offset 0", "size (4, 3)", "stride (3, 1)")),
        (340, "turned", (3, 4), 0, (1, 3), ("offset 0", "size (3, 4)", "stride (1, 3)")),
        (656, "row", (1, 3), 6, (3, 1), ("offset 6", "size (3,)", "stride (1,)")),
    ):
        for i in range(shape[0]):
            for j in range(shape[1]):
                number(x + size * j, 402 + size * i, offset + strides[0] * i + strides[1] * j)
        left = x + size * shape[1] + 14
        drawing.text(left, 424, name, size=15, fill=INK, weight=600, anchor="start")
        for i, part in enumerate(parts):
            drawing.text(left, 446 + 19 * i, part, anchor="start", mono=True, size=11.5)
    return drawing


def interleaved_codes() -> Drawing:
    """Draw two rows of codes and the one row of ids that they become."""
    drawing = Drawing(980, 250, "Two rows of codes become one row of ids, frame by frame")
    light, size, left = "#6ee7b7", 92, 306
    for q, fill in enumerate((GREEN, light)):
        labels = [f"c{q} t{t}" for t in range(4)]
        drawing.cells(left, 30 + 40 * q, size, [fill] * 4, labels, height=38, ink="#fff" if q == 0 else INK)
        drawing.text(left - 14, 54 + 40 * q, f"codebook {q}", anchor="end", fill=INK, weight=600)
    drawing.text(left + 4 * size + 16, 54, "what is rough in a frame", anchor="start")
    drawing.text(left + 4 * size + 16, 94, "what the first left over", anchor="start")
    row, cell = 122, 92
    for t in range(4):
        middle, first = left + (t + 0.5) * size - 1, row + 2 * t * cell
        for end in (first + 0.5 * cell, first + 1.5 * cell):
            drawing.line(middle, 112, end, 164, stroke=LINE, width=1.2)
    for i in range(8):
        drawing.box(row + i * cell, 166, cell - 2, 36, light if i % 2 else GREEN, radius=3)
        drawing.text(row + (i + 0.5) * cell - 1, 189, f"c{i % 2} t{i // 2}", size=11, fill=INK if i % 2 else "#fff")
        drawing.text(row + (i + 0.5) * cell - 1, 222, f"step {i}")
    drawing.text(row - 14, 189, "ids", anchor="end", fill=INK, weight=600)
    return drawing


def coarse_window() -> Drawing:
    """Draw what a window of the coarse stage takes from speech and codes, and its prompt."""
    drawing = Drawing(980, 330, "A window of the coarse stage: semantic tokens around the place, the latest codes")
    left, scale = 90, 80  # pixels for a second, 10.4 s in all
    now, behind, ahead, new = left + 5.4 * scale, 4.2 * scale, 0.94 * scale, 0.4 * scale
    edges = {"semantic": (now - behind, now + ahead), "coarse": (now - behind, now)}
    for name, y, fill in (("semantic", 44, BLUE), ("coarse", 246, GREEN)):
        drawing.text(left - 12, y + 24, name, anchor="end", fill=INK, weight=600)
        drawing.box(left, y, (10.4 if name == "semantic" else 5.4) * scale, 38, PALE)
        first, last = edges[name]
        drawing.box(first, y, last - first, 38, fill)
    drawing.text(now - behind / 2, 68, "209 tokens behind", fill="#fff")
    drawing.text(now + ahead / 2, 68, "47 ahead", fill="#fff")
    drawing.text(now + ahead + 110, 68, "not seen yet", fill=SOFT)
    drawing.text(left + 0.6 * scale, 68, "forgotten", fill=SOFT)
    drawing.text(left + 0.6 * scale, 270, "forgotten", fill=SOFT)
    drawing.text(now - behind / 2, 270, "the last 630 ids", fill="#fff")
    drawing.box(now, 246, new, 38, CARD, stroke=GREEN, dash="4 3")
    drawing.text(now + new + 10, 270, "60 new ids", fill=INK, anchor="start")
    drawing.line(now, 30, now, 96, stroke=INK, width=1.5, dash="4 3")
    drawing.line(now, 234, now, 296, stroke=INK, width=1.5, dash="4 3")
    drawing.text(now, 22, "the place", fill=INK)
    drawing.text(now, 314, "4.2 s behind it, 0.4 s to draw", fill=INK)
    parts = (("256 semantic", 200, BLUE), ("INFER", 54, INK), ("630 coarse", 500, GREEN), ("60 new", 74, CARD))
    x, y, tops = left, 146, []
    for label, width, fill in parts:
        outlined = fill == CARD
        drawing.box(x, y, width - 2, 40, fill, stroke=GREEN if outlined else "none", dash="4 3" if outlined else "")
        drawing.text(x + width / 2 - 1, y + 25, label, fill=INK if outlined else "#fff", weight=600)
        tops.append((x, x + width - 2))
        x += width
    drawing.text(left - 12, y + 25, "window", anchor="end", fill=INK, weight=600)
    for (a, b), (c, d), y1, y2, stroke in (
        (edges["semantic"], tops[0], 82, y, BLUE),
        (edges["coarse"], tops[2], 246, y + 40, GREEN),
        ((now, now + new), tops[3], 246, y + 40, GREEN),
    ):
        for top, bottom in ((a, c), (b, d)):
            drawing.line(top, y1, bottom, y2, stroke=stroke, width=1.2, dash="3 3")
    return drawing


def tied_heads() -> Drawing:
    """Draw which tables the fine model sums to predict one codebook, and the table that scores it."""
    drawing = Drawing(980, 330, "To predict codebook 4: the tables 0 to 4 are summed, and table 4 scores")
    pale = "#fde68a"
    for q in range(8):
        y = 44 + 34 * q
        used = q <= 4
        fill = GREEN if q < 2 else ORANGE if q < 4 else pale if q == 4 else PALE
        words = f"codes {q}" if q < 4 else "codes 4: pad" if q == 4 else f"codes {q}: pad"
        drawing.box(30, y, 128, 28, fill)
        drawing.text(94, y + 19, words, fill="#fff" if q < 4 else INK)
        drawing.box(206, y, 104, 28, CARD, stroke=ORANGE if used else LINE, dash="" if used else "4 3")
        drawing.text(258, y + 19, f"table {q}", fill=INK if used else LINE)
        if used:
            drawing.arrow(158, y + 14, 205, y + 14)
            drawing.line(310, y + 14, 384, 126, width=1.4)
    drawing.text(94, 28, "(8, t)", fill=SOFT)
    drawing.text(258, 28, "each (v, d)", fill=SOFT)
    drawing.parts.append(f'<circle cx="400" cy="126" r="18" fill="{CARD}" stroke="{INK}" stroke-width="2"/>')
    drawing.text(400, 132, "+", size=18, fill=INK)
    drawing.arrow(418, 126, 470, 126)
    drawing.box(470, 84, 190, 84, ORANGE, radius=10)
    drawing.text(565, 116, "transformer", size=17, weight=600, fill="#fff")
    drawing.text(565, 140, "every frame sees every frame", size=11.5, fill="#fff")
    drawing.arrow(660, 126, 712, 126)
    drawing.box(712, 84, 104, 84, CARD, stroke=ORANGE, radius=10)
    drawing.text(764, 116, "head", fill=INK, weight=600, size=15)
    drawing.text(764, 140, "table 4", fill=INK)
    drawing.arrow(816, 126, 862, 126)
    drawing.text(916, 122, "scores of", fill=INK)
    drawing.text(916, 140, "codebook 4", fill=INK)
    drawing.line(310, 194, 764, 194, stroke=ORANGE, width=1.6, dash="4 3")
    drawing.line(764, 194, 764, 178, stroke=ORANGE, width=1.6, dash="4 3")
    drawing.arrow(764, 182, 764, 169, stroke=ORANGE)
    drawing.text(540, 214, "the same array, used both ways: the head is tied to the table", fill=INK)
    drawing.text(596, 262, "for the next codebook: one more table in the sum, and table 5 as the head", fill=SOFT)
    return drawing


def fine_windows() -> Drawing:
    """Draw how voice and new frames are cut into windows, and which frames each of them writes."""
    drawing = Drawing(980, 292, "Windows of 1,024 frames advance by 512; each sees all its frames and writes some")
    voice, new, length, stride, left, scale = 512, 1400, 1024, 512, 110, 0.44
    pale = "#fde68a"
    drawing.text(left - 12, 59, "frames", anchor="end", fill=INK, weight=600)
    drawing.box(left, 36, voice * scale - 2, 36, SOFT)
    drawing.text(left + voice * scale / 2, 59, "voice, 512", fill="#fff")
    drawing.box(left + voice * scale, 36, new * scale, 36, GREEN)
    drawing.text(left + (voice + new / 2) * scale, 59, "new, 1,400: codebooks 0 and 1 are given", fill="#fff")
    total = voice + new
    for edge in (voice, voice + 512, total - 512, total):
        x = left + edge * scale
        drawing.line(x, 80, x, 250, width=1.2, dash="3 4")
        drawing.text(x, 272, f"{edge:,}")
    drawing.text(left, 272, "0")
    for n in range(3):
        y, begin = 104 + 52 * n, min(n * stride, total - length)
        write = min(voice + n * stride, total - stride)
        drawing.text(left - 12, y + 23, f"window {n}", anchor="end", fill=INK, weight=600)
        drawing.box(left + begin * scale, y, (write - begin) * scale - 2, 36, pale)
        drawing.text(left + (begin + write) / 2 * scale, y + 23, "seen", fill=INK)
        drawing.box(left + write * scale, y, (begin + length - write) * scale, 36, ORANGE)
        drawing.text(left + (write + begin + length) / 2 * scale, y + 23, "seen and written", fill="#fff")
    return drawing


def encodec() -> Drawing:
    """Draw the codec: the encoder above, the quantiser at the right, the decoder below, backwards."""
    drawing = Drawing(980, 436, "EnCodec: encoder, residual quantiser and decoder, with rates and channels")
    encoder = (("conv 7", 24_000, 32), ("÷ 2", 12_000, 64), ("÷ 4", 3_000, 128), ("÷ 5", 600, 256), ("÷ 8", 75, 512))
    decoder = (("conv 7", 24_000, 1), ("× 2", 24_000, 32), ("× 4", 12_000, 64), ("× 5", 3_000, 128), ("× 8", 600, 256))
    encoder += (("LSTM", 75, 512), ("conv 7", 75, 128))
    decoder += (("LSTM", 75, 512), ("conv 7", 75, 512))
    for y, row, title in ((118, encoder, "encoder"), (326, decoder, "decoder")):
        drawing.text(34, y - 84, title, size=17, weight=600, fill=INK, anchor="start")
        drawing.line(44, y, 844, y)
        drawing.box(34, y - 58, 12, 116, RED, radius=3)
        drawing.text(40, y + 76, "24,000 /s")
        drawing.text(40, y + 92, "1 channel")
        for i, (name, rate, channels) in enumerate(row):
            x, width, height = 134 + 104 * i, 40 + 5 * math.log2(channels), 24 + 11 * math.log2(rate / 75)
            drawing.box(x - width / 2, y - height / 2, width, height, "#fecaca", stroke=RED, radius=4)
            drawing.text(x, y + 4.5, name, fill=INK, weight=600)
            drawing.text(x, y + 76, f"{rate:,} /s")
            drawing.text(x, y + 92, f"{channels} channel{'s' if channels > 1 else ''}")
    drawing.arrow(800, 118, 852, 118)
    drawing.arrow(84, 326, 50, 326)
    drawing.text(898, 66, "quantiser", size=17, weight=600, fill=INK)
    for j in range(8):
        drawing.box(856, 90 + 33 * j, 84, 29, ORANGE)
        drawing.text(898, 109 + 33 * j, f"codebook {j}", fill="#fff", size=11)
    drawing.text(898, 376, "8 codes a frame,", fill=INK)
    drawing.text(898, 393, "75 frames a second", fill=INK)
    return drawing


def codec_padding() -> Drawing:
    """Draw what stands before and behind a signal: for stride 1, for a short signal, for stride 2."""
    drawing = Drawing(980, 384, "Padding of causal convolutions: mirrored on the left, and on the right for strides")
    size = 44

    def row(y, title, what, left, signal, right, windows):
        drawing.text(24, y + 15, title, anchor="start", fill=INK, weight=600)
        drawing.text(24, y + 33, what, anchor="start")
        x = 500 - size * len(left)
        labels = [*left, *signal, *right]
        fills = [PALE] * len(left) + [RED] * len(signal) + [PALE] * len(right)
        drawing.cells(x, y, size, fills, labels)
        for u, (begin, length) in enumerate(windows):
            level = y + size + 6 + 14 * u
            drawing.line(x + begin * size + 2, level, x + (begin + length) * size - 4, level, stroke=INK, width=3)
            drawing.text(x + (begin + length) * size + 2, level + 4, f"→ output {u}", size=11, anchor="start")

    mirrored = "3 mirrored steps before step 0"
    short = "zeros (·) where the mirror shows none"
    strided = "2 before, 1 behind: every step has a window"
    row(22, "kernel 4, stride 1", mirrored, "321", "0123456", "", [(u, 4) for u in range(3)])
    row(140, "the same, a signal of 2 steps", short, "··1", "01", "", [(u, 4) for u in range(2)])
    row(244, "kernel 4, stride 2, 7 steps", strided, "21", "0123456", "5", [(2 * u, 4) for u in range(4)])
    drawing.text(24, 364, "red: the signal, by the number of the step; grey: what is put there", anchor="start")
    return drawing


DRAWINGS = (
    pipeline,
    journey_1,
    journey_2,
    journey_3,
    journey_4,
    journey_5,
    journey_6,
    journey_7,
    journey_8,
    tensor_file,
    semantic_prompt,
    gpt_block,
    kv_cache,
    interleaved_codes,
    coarse_window,
    tied_heads,
    fine_windows,
    encodec,
    codec_padding,
)


def render() -> dict[str, str]:
    """Return the content of every drawing by the name of its file."""
    return {f"{make.__name__.replace('_', '-')}.svg": make().svg() for make in DRAWINGS}


if __name__ == "__main__":
    for name, content in render().items():
        (Path(__file__).parents[1] / name).write_text(content, encoding="utf-8")
