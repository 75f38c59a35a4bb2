"""The transformers: the semantic prompt, the block, the KV cache, and a file of tensors."""

from shapes import BLUE, GREY, INK, LINE, PALE, SOFT, Drawing


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
    drawing.text(infer + 76 + 2 * size, 56, "sampled by the model,", fill=BLUE)
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
