"""The visual language of the drawings: colours, and an SVG that collects shapes.

The stages have the colours of `bark_jax.notebook.COLORS` everywhere. Every drawing has a card as its background, so
that it can be read on any page. The card is light; for readers who prefer dark pages the lightness is turned over.
"""

from xml.sax.saxutils import escape

from bark_jax.notebook import COLORS

GREY, BLUE, GREEN, ORANGE, RED = COLORS.values()
DARK = "<style>@media (prefers-color-scheme: dark) {svg {filter: invert(0.92) hue-rotate(180deg)}}</style>"
CARD, INK, SOFT, LINE, PALE = "#f8fafc", "#1f2937", "#57606a", "#8b949e", "#e5e7eb"


class Drawing:
    """Collect the shapes of one SVG; x to the right, y down, in pixels."""

    def __init__(self, width: int, height: int, label: str):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(label)}">',
            DARK,
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
