"""Text, tables and digests of regular files."""

import hashlib

import pytest

from vae_loc.errors import UnusableInput
from vae_loc.system import reading
from vae_loc.system.reading import are_whole, read_csv, read_text, sha256_of, to_csv


def test_a_table_written_is_the_table_read(tmp_path):
    records = [{"scan": "a,b\n'\"", "n": 1, "none": None}, {"scan": "脳", "more": 2.5}]
    (tmp_path / "t.csv").write_bytes(to_csv(records))
    assert read_csv(tmp_path / "t.csv", "a table", ["scan"]) == [
        {"scan": "a,b\n'\"", "n": "1", "none": "", "more": ""},
        {"scan": "脳", "n": "", "none": "", "more": "2.5"},
    ]


def test_the_mark_of_windows_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfscan\r\na.nii\r\n")
    assert read_csv(tmp_path / "t.csv", "a table", ["scan"]) == [{"scan": "a.nii"}]


@pytest.mark.parametrize(
    "text",
    ["scan,mask\na.nii,b.nii\n", "scan;mask\r\na.nii;b.nii\r\n", "scan\tmask\na.nii\tb.nii\n",
     "Scan, MASK\na.nii, b.nii\n",
     '"Scan" ;"Mask"\n"a.nii" ; b.nii\n', "mask;scan\nb.nii;a.nii;;\n\n", "\ufeffscan;mask\na.nii;b.nii"],
)  # fmt: skip
def test_tables_of_other_countries_and_habits_are_read_alike(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    assert read_csv(tmp_path / "t.csv", "a table", ["scan"]) == [{"scan": "a.nii", "mask": "b.nii"}]


@pytest.mark.parametrize(("link", "words"), [(True, "its content is not here: run `git annex get`"),
                                             (False, "check the name")])  # fmt: skip
def test_a_file_whose_content_is_in_an_annex_says_how_to_get_it(tmp_path, link, words):
    if link:
        (tmp_path / "a.nii").symlink_to("../.git/annex/objects/0k/zz/MD5E-s9--0.nii/MD5E-s9--0.nii")
    with pytest.raises(UnusableInput, match=words), reading.opened(tmp_path / "a.nii", "a scan"):
        pass
    assert "git annex get" in reading.looks_like(b"/annex/objects/MD5E-s9--0.nii\n")


@pytest.mark.parametrize(("content", "words"), [(b"a\0b", "no text"), (b"x" * 101, "more than 100 bytes")])
def test_what_is_no_short_text_is_refused(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(reading, "MAX_LIST_BYTES", 100)
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UnusableInput, match=words):
        read_text(tmp_path / "a.txt", "a list")


def test_a_digest_is_of_all_files_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_BYTES", 3)
    (tmp_path / "a").write_bytes(b"hello ")
    (tmp_path / "b").write_bytes(b"world")
    assert sha256_of(tmp_path / "a", tmp_path / "b") == hashlib.sha256(b"hello world").hexdigest()


def test_files_are_whole_only_if_each_is_there_and_unchanged(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    digest = sha256_of(tmp_path / "a")
    assert are_whole({tmp_path / "a": digest})
    assert not are_whole({tmp_path / "a": digest, tmp_path / "gone": digest})
    (tmp_path / "a").write_bytes(b"b")
    assert not are_whole({tmp_path / "a": digest})


def test_text_that_a_spreadsheet_would_compute_is_quoted_and_read_back(tmp_path):
    cells = {"scan": "=1+1", "a": "+x", "b": "-x", "c": "@x", "d": "\tx", "e": -1.5, "f": "-1.5", "g": "'x", "h": "x=1"}
    (tmp_path / "t.csv").write_bytes(to_csv([cells]))
    raw = (tmp_path / "t.csv").read_text().splitlines()[1]
    assert raw == "'=1+1,'+x,'-x,'@x,'\tx,-1.5,-1.5,'x,x=1"
    assert read_csv(tmp_path / "t.csv", "a table", ["scan"]) == [{name: str(cell) for name, cell in cells.items()}]
