"""The codes: how codebooks are interleaved, windowed, embedded, and turned into sound by EnCodec."""

import math

from shapes import BLUE, CARD, GREEN, INK, LINE, ORANGE, PALE, RED, SOFT, Drawing


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
    drawing.text(now, 314, "4.2 s behind it, 0.4 s to write", fill=INK)
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
            x, width, height = 134 + 104 * i, 52 + 4 * math.log2(channels), 24 + 11 * math.log2(rate / 75)
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
    """Draw what comes before and after a signal: for stride 1, for a short signal, for stride 2."""
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
    strided = "2 before, 1 after: every step has a window"
    row(22, "kernel 4, stride 1", mirrored, "321", "0123456", "", [(u, 4) for u in range(3)])
    row(140, "the same, a signal of 2 steps", short, "··1", "01", "", [(u, 4) for u in range(2)])
    row(244, "kernel 4, stride 2, 7 steps", strided, "21", "0123456", "5", [(2 * u, 4) for u in range(4)])
    drawing.text(24, 364, "red: the signal, by the number of the step; grey: what is put there", anchor="start")
    return drawing
