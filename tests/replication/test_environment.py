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


def test_environment_is_recorded(tmp_path):
    described = environment.describe_environment("abc", "float32")
    assert described["store"] == "abc" and described["packages"]["keras"]
    records.write_json(tmp_path / "e.json", described)
    assert json.loads((tmp_path / "e.json").read_text()) == described
