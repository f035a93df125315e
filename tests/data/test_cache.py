"""What a cache notices when it is opened, and its journal."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pneumonia.data import cache as layout
from pneumonia.data.cache import Cache, Damaged


def record(row: int, square: np.ndarray, age: float | None = None) -> dict:
    return {
        "patientId": f"1e{row}",  # a text that a careless reader takes for a number
        "split": "train",
        "rows": 1024,
        "columns": 800,
        "sex": "",
        "age": age,
        "view": "NA",
        "modality": "CR",
        "spacing": 0.139,
        "bytes": 1,
        "mtime_ns": 1795430678484257178,
        "sha256": "0" * 64,
        "pixels_crc32": layout.square_crc32(square),
    }


@pytest.fixture
def folder(tmp_path):
    """A complete cache of three 8 x 8 squares."""
    squares = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    layout.pixel_file(tmp_path, 8).write_bytes(squares.tobytes())
    layout.finish(tmp_path, 8, {row: record(row, squares[row], 62.0 if row else None) for row in range(3)})
    return tmp_path


def test_a_complete_cache_is_read_as_it_was_written(folder):
    cache = Cache(folder)
    assert cache.size == 8 and cache.pixels.shape == (3, 8, 8) and cache.pixels.dtype == np.uint8
    assert cache.row_of("1e2") == 2 and cache.verify() == []
    assert cache.index["age"].isna().tolist() == [True, False, False] and cache.index["age"][1] == 62.0
    assert cache.index["view"].tolist() == ["NA"] * 3 and cache.index["sex"].tolist() == [""] * 3
    assert cache.index["mtime_ns"][0] == 1795430678484257178
    with pytest.raises(KeyError):
        cache.row_of("1e9")
    with pytest.raises(ValueError):
        cache.pixels[0, 0, 0] = 1


def test_ages_that_are_all_missing_are_numbers(tmp_path):
    square = np.zeros((8, 8), np.uint8)
    layout.pixel_file(tmp_path, 8).write_bytes(square.tobytes())
    layout.finish(tmp_path, 8, {0: record(0, square)})
    assert Cache(tmp_path).index["age"].dtype == np.float64


def test_every_flipped_byte_of_the_index_is_noticed(folder):
    index = folder / "index.csv"
    whole = index.read_bytes()
    for position in range(0, len(whole), 7):
        index.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(Damaged, match=r"index\.csv"):
            Cache(folder)
    index.write_bytes(whole[:-5])
    with pytest.raises(Damaged):
        Cache(folder)
    index.unlink()
    with pytest.raises(Damaged):
        Cache(folder)


def test_pixels_of_another_length_are_noticed_when_opened_and_flipped_ones_when_verified(folder):
    file = layout.pixel_file(folder, 8)
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 255]) + whole[101:])
    assert Cache(folder).verify() == ["1e1"]
    file.write_bytes(whole[:-1])
    with pytest.raises(Damaged, match="length"):
        Cache(folder)
    file.unlink()
    with pytest.raises(Damaged):
        Cache(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"version": 1, "size": "8"}', '{"version": 99}'])
def test_cache_json_that_is_not_right_is_no_cache(folder, text):
    (folder / "cache.json").write_text(text)
    with pytest.raises(Damaged):
        Cache(folder)


def test_a_folder_of_an_older_layout_is_no_cache(folder):
    facts = json.loads((folder / "cache.json").read_text())
    (folder / "cache.json").write_text(json.dumps(facts | {"version": 0}))
    with pytest.raises(Damaged, match="version"):
        Cache(folder)
    shutil.rmtree(folder)
    with pytest.raises(Damaged, match="no complete"):
        Cache(folder)


def test_an_empty_cache_opens(tmp_path):
    layout.pixel_file(tmp_path, 8).touch()
    layout.finish(tmp_path, 8, {})
    cache = Cache(tmp_path)
    assert len(cache) == 0 and cache.pixels.shape == (0, 8, 8) and isinstance(cache.index, pd.DataFrame)


def test_the_journal_passes_over_a_line_that_was_cut_short(tmp_path):
    assert layout.read_journal(tmp_path, 8) == {}
    layout.write_journal(tmp_path, 8, {row: {"patientId": str(row)} for row in range(3)})
    journal = layout.journal_file(tmp_path, 8)
    journal.write_bytes(journal.read_bytes()[:-3])
    assert layout.read_journal(tmp_path, 8) == {0: {"patientId": "0"}, 1: {"patientId": "1"}}
    with open(journal, "a") as file:
        file.write("\n" + layout.journal_line(0, {"patientId": "later"}))
    assert layout.read_journal(tmp_path, 8)[0] == {"patientId": "later"}


def test_an_index_gives_the_records_that_it_was_made_of(folder):
    written = (folder / "index.csv").read_bytes()
    layout.finish(folder, 8, layout.index_records(Cache(folder)))
    assert (folder / "index.csv").read_bytes() == written
