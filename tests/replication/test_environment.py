import json

import pytest

keras = pytest.importorskip("keras")

from replication import environment, records  # noqa: E402


def test_precision_is_float32_unless_asked(monkeypatch):
    try:
        assert environment.set_precision("float32") == "float32"
        monkeypatch.setattr(environment, "cpu_flags", lambda: {"avx2", "avx512_bf16"})
        assert environment.set_precision("auto") == "mixed_bfloat16"
        monkeypatch.setattr(environment, "cpu_flags", lambda: {"avx2"})
        assert environment.set_precision("auto") == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_what_chooses_threads_and_code_is_recorded(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET", "of nobody else")
    monkeypatch.setattr(environment, "cpu_flags", lambda: {"avx2", "fma", "rdpid"})
    described = environment.describe_environment("", "float32")
    assert described["switches"]["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert described["switches"]["OMP_NUM_THREADS"] == "3"
    assert described["cpu_features"] == ["avx2", "fma"]
    assert "of nobody else" not in json.dumps(described)


def test_environment_is_recorded(tmp_path):
    described = environment.describe_environment("abc", "float32")
    assert described["store"] == "abc" and described["packages"]["keras"]
    assert described["threads"]["cores"] >= 1 and "openblas" in described["linear_algebra"].lower()
    assert described["keras_settings"]["image_data_format"] == "channels_last"
    records.write_json(tmp_path / "e.json", described)
    assert json.loads((tmp_path / "e.json").read_text()) == described
