"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(names: Sequence[str], rows: Iterable[Sequence]) -> str:
    return "\n".join([row(names), f"|{'---|' * len(names)}", *map(row, rows)])


def row(cells: Sequence) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
