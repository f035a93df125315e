"""Reads rows of CSV tables, as common tools write them. Every fault has its line and its fix.

Accepted: a byte order mark, quoted cells, spaces around cells, CRLF or CR at line ends, gzip, empty rows at the end.
Refused in one line: other separators, UTF-16, an index column, a quote that is not closed.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pneumonia.system.errors import BadInput, Fault, bad_input

MAX_FAULTS = 100  # printed for one file; the rest is counted in the last line
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "<na>"})  # what pandas and R write for no value
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

# A cell of a row with quotes, and the comma or line end after it. The csv module does not serve: it refuses cells above
# 131,072 letters, as long prediction strings are, and reads on beyond a quote that is not closed.
CELL = re.compile(r'[ \t]*(?:"([^"]*(?:""[^"]*)*)"[ \t]*|([^",][^,]*|))(,|$)')


@dataclass(frozen=True)
class Table:
    """One CSV file. names: the columns. lines: all lines of the file without their ends, the header being the first."""

    path: Path
    names: list[str]
    lines: list[str]

    def column(self, *names: str) -> int | None:
        """Position of the first of these columns that the table has."""
        return next((self.names.index(name) for name in names if name in self.names), None)

    def rows(self, faults: list[Fault], strict: bool = True) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, cells without the spaces around them) of every row that has a cell for each column.

        Args:
            faults: the faults of all other rows are appended to it.
            strict: a line is a row. Else cells may have line breaks, as reports have, and empty rows are skipped.

        Raises:
            BadInput: all rows have one cell more than the header.
        """
        check_row_widths(self)
        number = 1
        while number < len(self.lines):
            number += 1
            line, text = number, self.lines[number - 1]
            if not strict and not text.strip(", "):
                continue
            cells = split_cells(text)
            if cells is None and not strict:
                cells, number = split_multiline_row(self.lines, line)
            if cells is None:
                what = "a quote is opened and not closed at the end of its cell"
                fix = "close it or remove it: a cell is on one line"
                faults.append(Fault("open-quote", str(self.path), line, what, fix))
            elif len(cells) != len(self.names):
                what = f"{len(cells) if text else 0} cells, not {len(self.names)}"
                faults.append(Fault("cells", str(self.path), line, what, f"a row is {','.join(self.names)[:200]}"))
            else:
                yield line, cells


def read_table(path: str | Path) -> Table:
    """Read a table of any columns.

    Raises:
        BadInput: the file cannot be read, is empty, or its columns are separated by something else than commas.
    """
    lines = read_text(path).split("\n")
    while lines and not lines[-1].strip(', \t"'):
        lines.pop()
    if not lines:
        raise bad_input(path, "is empty", "give a CSV file with a header and rows", code="empty")
    names = split_cells(lines[0])
    if names is None:
        raise bad_input(path, "a quote in the header is not closed", "close it or remove it", 1, "open-quote")
    for separator, word in SEPARATORS.items():
        if lines[0].strip().count(separator) > lines[0].count(","):
            fix = "save it with commas, and with points in its numbers (pandas: sep=',', decimal='.')"
            raise bad_input(path, f"its columns are separated by {word}", fix, 1, "separator")
    if lines[0].strip().lower() == "sep=,":
        raise bad_input(path, "begins with Excel's line sep=,", "remove this line", 1, "separator")
    return Table(Path(path), names, lines)


def read_rows(path: str | Path, headers: list[list[str]], faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of every good row of a table whose first column is an id.

    Args:
        headers: the accepted lists of columns.
        faults: the faults of all other rows are appended to it.

    Raises:
        BadInput: the file cannot be read, or its header is not one of `headers`.
    """
    table = read_table(path)
    if table.names not in headers:
        raise BadInput([header_fault(table, headers)])
    if len(table.lines) == 1:
        fix = "give a table with a row for every image"
        faults.append(Fault("header-only", str(path), None, "has a header and no rows", fix))
    for line, cells in table.rows(faults):
        if cells[0]:
            yield line, cells
        else:
            faults.append(Fault("no-id", str(path), line, "the patientId is empty", "write the image's id"))


def header_fault(table: Table, headers: list[list[str]]) -> Fault:
    """The fault of a header, compared with the nearest one of `headers`."""
    names = table.names
    columns = max(headers, key=lambda header: (len(set(header) & set(names)), -len(header)))
    fix = "the first line must be " + " or ".join(",".join(header) for header in headers)
    repeated = [name for number, name in enumerate(names) if name in names[:number]]
    missing = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in columns]
    code, what = "columns", "the header has another order of columns"
    if names[1:] in headers and names[0].lower() in ("", "unnamed: 0", "index"):
        code, what = "index-column", f"its first column, {printable(names[0])}, is an index that a tool wrote"
        fix = "write the table without it (pandas: index=False; R: row.names=FALSE)"
    elif repeated:
        code, what = "repeated-column", f"the header has the column {printable(repeated[0])} twice"
    elif [name.lower() for name in names] in [[name.lower() for name in header] for header in headers]:
        what = f"the header is spelled {printable(','.join(names))}, with other capital letters"
    elif missing:
        instead = f", but {', '.join(map(printable, unknown[:5]))}" if unknown else ""
        what = f"the header has no column {', '.join(map(repr, missing))}{instead}"
    elif unknown:
        what = f"the header has unknown columns: {', '.join(map(printable, unknown[:5]))}"
    return Fault(code, str(table.path), 1, what, fix)


def check_row_widths(table: Table) -> None:
    """Raises BadInput where the first rows all have one cell more than the header: R's write.table adds row names."""
    first = [split_cells(line) for line in table.lines[1:4]]
    if len(first) > 1 and all(cells is not None and len(cells) == len(table.names) + 1 for cells in first):
        what = f"the rows have {len(table.names) + 1} cells, the header {len(table.names)}: an index column, or commas"
        fix = "write the table without row names (R: row.names=FALSE) and without a comma at the end of its rows"
        raise bad_input(table.path, f"{what} at the end", fix, 2, "index-column")


def split_cells(line: str) -> list[str] | None:
    """Split one row into cells, without quotes and the spaces around them; None where a quote is not closed."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(",")]
    cells, start = [], 0
    while match := CELL.match(line, start):
        quoted, unquoted, end = match.groups()
        cells.append((unquoted if quoted is None else quoted.replace('""', '"')).strip())
        start = match.end()
        if not end:
            return cells
    return None


def split_multiline_row(lines: list[str], line: int) -> tuple[list[str] | None, int]:
    """Split the row whose quote opens in `line` (from 1) and closes in a later one.

    Returns:
        Its cells and its last line; None and `line` where no later line closes the quote.
    """
    last = next((number for number in range(line + 1, len(lines) + 1) if lines[number - 1].count('"') % 2), line)
    cells = split_cells("\n".join(lines[line - 1 : last]))
    return (cells, line if cells is None else last)


def read_text(path: str | Path) -> str:
    """Read a text file, with "\\n" at line ends and without byte order mark; a gzip file is unpacked.

    Raises:
        BadInput: the file does not exist, is not UTF-8, or is damaged.
    """
    try:
        content = Path(path).read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise bad_input(path, f"cannot be read: {error}", "get the file again") from error
    except OSError as error:
        raise bad_input(path, f"cannot be read: {error.strerror}", "give the path of a CSV file") from error
    if content.startswith(b"PK\x03\x04"):
        fix = "unpack it, or save it as CSV (UTF-8)"
        raise bad_input(path, "is a zip file or an Excel workbook, not a CSV file", fix, 1, "encoding")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:2]:
        raise bad_input(path, "is UTF-16 text", "save it as UTF-8 (Excel: CSV UTF-8)", 1, "encoding")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise bad_input(path, "is not UTF-8 text", "save it as UTF-8 CSV", row, "encoding") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value: empty, nan, NA, null, ..."""
    return cell.lower() in MISSING


def printable(text: str) -> str:
    """Quote text of a file for a message: control characters escaped, cut to 60 letters."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def format_exactly(number: float) -> str:
    """A number with all its digits: the fault may be in the last one."""
    return repr(float(number)).removesuffix(".0")


def describe_duplicate(name: str, line: int) -> tuple[str, str]:
    """What is wrong and its fix, for an id that is in an earlier row too."""
    return f"{name} was already in row {line}", "keep one row per image, all its boxes in one PredictionString"


def first_faults(faults: Sequence[Fault], path: str | Path) -> list[Fault]:
    """The first faults and the number of the others: a file that is wrong throughout must not fill the screen."""
    if len(faults) <= MAX_FAULTS:
        return list(faults)
    rest = len(faults) - MAX_FAULTS
    more = Fault("more", str(path), None, f"{rest} further faults", "correct these first, then run it again")
    return [*faults[:MAX_FAULTS], more]


def quote_cell(name: str) -> str:
    """An id as a CSV cell: in quotes where it has a comma or a quote."""
    return '"' + name.replace('"', '""') + '"' if any(letter in name for letter in ',"') else name
