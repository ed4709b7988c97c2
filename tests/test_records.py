import numpy as np
import pytest

from synth.errors import DataError
from synth.quality.probes import Probe
from synth.quality.records import Record, missing, store

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
