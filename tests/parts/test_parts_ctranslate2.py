"""The reader of CTranslate2's file: what it refuses, and what it reads off the shapes."""

import numpy as np
import pytest
from ctranslate2_files import as_ctranslate2, write_variables

from eureka_audio.errors import PartError
from eureka_audio.parts.ctranslate2 import convert, read_variables, whisper_config
from tiny import tiny_whisper


def test_variables_and_aliases_are_read_in_every_type():
    arrays = {
        "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "c": np.array(-3, np.int16),
        "d": np.array([1, -1], np.int8),
        "e": np.array([0.5], np.float16),
        "f": np.array([7], np.int32),
    }
    read = read_variables(write_variables(arrays, [("alias", "a/b")]), "here")
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array), name
    assert read["alias"] is read["a/b"]


def test_the_configuration_is_the_models_own():
    whisper = tiny_whisper()
    config = whisper_config(read_variables(as_ctranslate2(whisper), "here"))
    for name in (
        "d_model", "num_mel_bins", "vocab_size", "encoder_layers", "encoder_attention_heads",
        "encoder_ffn_dim", "decoder_layers", "decoder_attention_heads", "decoder_ffn_dim",
        "max_source_positions", "max_target_positions",
    ):  # fmt: skip
        assert getattr(config, name) == getattr(whisper.config, name), name


@pytest.mark.parametrize("cut", [0, 3, 20, 200, -1])
def test_a_file_cut_short_is_refused(cut):
    with pytest.raises(PartError, match="fetch it again"):
        read_variables(as_ctranslate2(tiny_whisper())[:cut], "here")


def test_another_version_is_refused():
    with pytest.raises(PartError, match="version 6, got: version 5"):
        read_variables(write_variables({}, [], version=5), "here")


def test_another_model_is_refused(tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(write_variables({"encoder/x": np.zeros(2, np.float32)}, []))
    with pytest.raises(PartError, match="expected the variables of a Whisper"):
        convert(file, tmp_path)
