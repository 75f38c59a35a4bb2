"""What the devices of a mesh exchange: the collective operations in the text of a compiled program.

In:  the text of a program, as `Compiled.as_text()` returns it, for a CPU or a TPU.
Out: an `Exchange` for each collective operation, however many lines it stands in.
"""

import dataclasses
import math
import re

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) [^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
COLLECTIVE = re.compile(
    r" = (\S+|\(.*?\)) (all-reduce|all-gather|all-to-all|ragged-all-to-all|reduce-scatter|collective-permute|"
    r"collective-broadcast)(-start)?\("
)
CHANNEL = re.compile(r"\bchannel_id=(\d+)")
GROUPS = re.compile(r"\breplica_groups=(?:\[\d+,(\d+)\]<=|\{\{([\d,]+)\}|mesh\[(.*?)\][^{\n]*\{(.*?)\})")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Exchange:
    """Hold one collective operation of a program, which may stand in several lines of it."""

    channel: str  # its number, the same in all its lines; or the place of the line, where it has none
    kind: str  # such as all-reduce
    arrays: tuple[tuple[int, ...], ...]  # shapes of what one device has of it afterwards
    bytes: int  # of these arrays
    in_loop: bool  # whether it runs at every turn of the program's loop
    devices: int  # that take part together; 0 where the line does not say it

    @property
    def sent(self) -> float:
        """The bytes that each device has to send, whatever the algorithm."""
        others = (self.devices - 1) / max(self.devices, 1)
        if self.kind == "all-reduce":  # each sends its part of the others' sums, then the sum of its own
            return 2 * others * self.bytes
        if self.kind == "reduce-scatter":
            return (self.devices - 1) * self.bytes
        return self.bytes if self.kind.startswith("collective") else others * self.bytes


def computations(text: str) -> tuple[dict[str, str], list[str]]:
    """Split a program into the lines of each of its computations; find the lines that begin its loops."""
    found = COMPUTATION.findall(text)
    entry = next(body for is_entry, _, body in found if is_entry)
    return {name: body for _, name, body in found}, [line for line in entry.splitlines() if " while(" in line]


def cycles_of_turn(text: str) -> int:
    """Add up the cycles that the compiler for TPUs estimates for a turn of the program's longest loop; 0 elsewhere.

    They leave out waiting for memory and for other devices, and what runs in a branch.
    """
    bodies, loops = computations(text)
    turns = [bodies[name] for line in loops for name in re.findall(r"\bbody=%([\w.-]+)", line)]
    return max((sum(map(int, CYCLES.findall(turn))) for turn in turns), default=0)


def exchanges_in(text: str) -> list[Exchange]:
    """List the collective operations of a program, one for each channel.

    A TPU's program may name one operation in several lines, as parts of a fusion. The loop of a program
    is the one that it begins by itself, in no branch: over the steps, or over the codebooks.
    """
    bodies, loops = computations(text)
    looped, unseen = set[str](), loops
    while unseen:
        called = bodies.keys() & set(re.findall(r"%([\w.-]+)", unseen.pop())) - looped
        looped |= called
        unseen += [bodies[name] for name in called]
    found: dict[str, Exchange] = {}
    for name, body in bodies.items():
        lines = [(line, match) for line in body.splitlines() if (match := COLLECTIVE.search(line))]
        for place, (line, match) in enumerate(lines):
            result, kind, started = match.groups()
            shapes, size = exchanged(result, kind, started)
            channel = CHANNEL.search(line)
            key = channel[1] if channel else f"{name} {place}"
            one = Exchange(key, kind, shapes, size, name in looped, group_size(line))
            before = found.setdefault(key, one)
            found[key] = dataclasses.replace(
                max(before, one, key=lambda each: each.bytes), in_loop=before.in_loop or one.in_loop
            )
    return list(found.values())


def exchanged(result: str, kind: str, started: str | None) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Read the shapes and the bytes of the arrays that a device has after an operation."""
    arrays = []
    for dtype, dims in ARRAY.findall(result):
        shape = tuple(int(size) for size in dims.split(",") if size)
        width = 1 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0]) // 8
        arrays.append((math.prod(shape) * width, shape))
    if started and kind in ("all-gather", "collective-permute"):  # what goes in stands there too
        arrays = [max(arrays)]
    return tuple(shape for _, shape in arrays), sum(size for size, _ in arrays)


def group_size(line: str) -> int:
    """Read how many devices take part in an operation together, in any of the ways that XLA writes it."""
    groups = GROUPS.search(line)
    if not groups:
        return 0
    size, listed, sizes, axes = groups.groups()
    if sizes:  # of a mesh, and the axes of it over which the groups go
        of_axis = dict(re.findall(r"'(\w+)'=(\d+)", sizes))
        return math.prod(int(part or of_axis[axis]) for axis, part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", axes))
    return int(size or len(listed.split(",")))
