import numpy as np
import pytest

from synth.disk.json_files import Schema, fields
from synth.errors import DataError, OutputError
from synth.quality.probes import Probe
from synth.quality.records import Record, kept_facts, missing, store, store_facts

PROBE = Probe("probe", "1", None)


def kept(folder):
    rng = np.random.default_rng(0)
    store(folder, PROBE, {"values": rng.integers(9, size=400), "more": np.arange(5.0)})
    return Record("case", folder, {"probe": "1"}), folder / "probe-1.npz"


def test_a_changed_byte_is_a_sentence_or_does_not_matter(tmp_path):
    record, path = kept(tmp_path)
    good, told = path.read_bytes(), []
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        missing(tmp_path, [PROBE])
        try:
            record("probe", "values")
        except DataError as error:
            told.append(str(error))
    assert told
    assert all("probe-1.npz" in sentence for sentence in told)


@pytest.mark.parametrize("size", [0, 100])
def test_a_file_that_is_cut_off_is_measured_again(tmp_path, size):
    _, path = kept(tmp_path)
    assert missing(tmp_path, [PROBE]) == []
    path.write_bytes(path.read_bytes()[:size])
    assert missing(tmp_path, [PROBE]) == [PROBE]


def test_what_somebody_changed_is_measured_again(tmp_path):
    record, path = kept(tmp_path)
    np.savez_compressed(path, values=record("probe", "values") * 0, more=np.arange(5.0))
    assert missing(tmp_path, [PROBE]) == [PROBE]


def test_facts_that_somebody_changed_or_that_are_no_facts_are_told_again(tmp_path):
    schema = Schema("facts", fields({"law": {"type": "array"}}))
    store_facts(tmp_path, "case", {"law": ["a breach"]})
    assert kept_facts(tmp_path, "case", schema)["law"] == ["a breach"]
    path = tmp_path / "case.json"
    path.write_text(path.read_text().replace('["a breach"]', "[]"))
    assert kept_facts(tmp_path, "case", schema) is None
    for text in ("", "5", '{"law": []}', "[" * 100_000):
        path.write_text(text)
        assert kept_facts(tmp_path, "case", schema) is None
    store_facts(tmp_path, "case", {"law": 5})
    assert kept_facts(tmp_path, "case", schema) is None


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for keep in (lambda: kept(tmp_path / "file/case"), lambda: store_facts(tmp_path / "file/case", "facts", {})):
        with pytest.raises(OutputError, match="cannot be made"):
            keep()
