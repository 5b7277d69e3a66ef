"""The benchmark: what it counts, which rows it takes, what its table has. Times are not tested."""

import importlib
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GPU_ROWS = ("gpu_resnet3d", "gpu_backbones", "gpu_jax_backend", "gpu_torch_backend")
TINY_PRODUCT = 16


@pytest.fixture
def rows(monkeypatch):
    """Imports a module of scripts/benchmark_rows."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return lambda name: importlib.import_module(f"benchmark_rows.{name}")


def model_of(layer, shape):
    import keras

    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def tiny_network():
    from keras import layers

    return model_of(layers.Dense(1, activation="sigmoid"), (8,))


def test_a_convolution_counts_two_operations_for_each_tap_on_data(rows):
    from keras import layers

    count = rows("rates").count_flops
    valid = model_of(layers.Conv2D(5, 3, strides=2), (9, 7, 4))
    assert count(valid, batch=2) == 2 * 2 * (4 * 3) * 9 * 4 * 5
    # 5 outputs with 3 taps each reach 13 of 15 inputs: one tap on either side meets padding.
    same = model_of(layers.Conv3D(2, (1, 3, 3), padding="same"), (6, 5, 5, 3))
    assert count(same, batch=1) == 2 * 6 * 13 * 13 * 3 * 2


def test_padding_by_a_layer_of_its_own_counts_as_little_as_the_convolutions_own(rows):
    import keras
    from keras import layers

    count = rows("rates").count_flops
    own = model_of(layers.Conv2D(8, 3, padding="same"), (6, 6, 2))
    padded = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.ZeroPadding2D(1), layers.Conv2D(8, 3)]
    )
    assert count(own, 3) == count(padded, 3) == 2 * 3 * 16 * 16 * 2 * 8


def test_groups_count_what_each_reads_however_they_are_computed(rows):
    from cnr_iemn.backbones import GroupedConv2D

    for merged in (True, False):
        layer = GroupedConv2D(16, 1, groups=8, merged=merged)
        assert rows("rates").count_flops(model_of(layer, (4, 4, 32)), 1) == 2 * 16 * 4 * 16
        assert layer.merged == merged


def test_dense_and_recurrent_layers_count_their_products(rows):
    from keras import layers

    count = rows("rates").count_flops
    assert count(model_of(layers.Dense(7), (5, 3)), batch=2) == 2 * 2 * 5 * 3 * 7
    # Three gates of 4 units read 3 inputs and 4 states in each of 6 rounds.
    gru = model_of(layers.GRU(4), (6, 3))
    assert count(gru, batch=2) == 2 * 2 * 6 * (3 + 4) * 3 * 4
    assert not gru.layers[-1].unroll


def test_a_loop_that_cannot_be_counted_is_refused(rows):
    import keras

    class Loop(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.fori_loop(0, 3, lambda _, x: x @ x, inputs)

    with pytest.raises(ValueError, match="While"):
        rows("rates").count_flops(model_of(Loop(), (3, 3)), 1)


def test_arithmetic_of_a_published_network_is_what_others_print(rows):
    """ResNeXt-50: torchvision prints 4.23 billion multiply-adds, padding included."""
    networks = rows("networks").NETWORKS
    counted = rows("rates").count_flops(networks["resnext50_32x4d"].build(), 1)
    assert counted / 2e9 == pytest.approx(4.23, rel=0.02)


def test_a_network_row_has_its_share_of_a_product(rows, tmp_path):
    network = rows("networks").Network("a small one", tiny_network, 4, "kolarik2023")
    measured = rows("shares").network_rows(network, 2, tmp_path, side=TINY_PRODUCT)
    assert measured[0].name == "training step of a small one (float32)"
    for row in measured:
        assert re.match(r"\d+ \[\d+, \d+\] %", row.share)
        assert "product of 16 x 16" in row.reference and row.result == "1.92e-07 GFLOP"
    if len(measured) > 1:
        assert "; of bfloat16's " in measured[1].share


def test_every_network_of_the_project_has_a_row(rows):
    from cnr_iemn.config import NETWORKS as SLICE_NETWORKS
    from lungsliding_tf.kolarik2023.resnet3d import STAGES
    from vbreathnet.transfer import BASES

    expected = {*SLICE_NETWORKS, *(f"resnet3d_{depth}" for depth in STAGES), "mmode_resnet18",
                "vbreathnet", *(f"transfer_{base}" for base in BASES), "cmwra", "cmwru", "rcm2d",
                "frame_inception", "frame_cnn2d", "raft_small", "raft_large"}  # fmt: skip
    assert set(rows("networks").NETWORKS) == expected
    assert {f"share_{name}" for name in expected} <= set(rows("command").MEASURE)


def test_quick_takes_the_rows_that_it_names_and_leaves_the_table_alone(rows):
    command = rows("command")
    quick = command.Arguments(quick=True)
    assert quick.chosen == command.QUICK and quick.file is None
    assert set(GPU_ROWS) < set(command.QUICK) < set(command.MEASURE)
    source = Path(command.__file__).read_text(encoding="utf-8")
    told = re.sub(r"\s+", " ", source[source.index("these rows: ") :].split('"""')[0])
    told = told.removeprefix("these rows: ").strip().rstrip(".").split(", ")
    assert told == [name for name in command.QUICK if not name.startswith("gpu_")] + ["gpu_*"]


def test_only_all_rows_with_all_repetitions_renew_the_table(rows):
    Arguments, table = rows("command").Arguments, rows("command").TABLE
    assert Arguments().file == table and Arguments().chosen == tuple(rows("command").MEASURE)
    assert Arguments(rows=("auroc",)).file is None
    assert Arguments(out="none").file is None
    assert Arguments(quick=True, out="here.md").file == Path("here.md")


def test_the_table_shows_shares_misses_and_the_command(rows):
    Row, command = rows("measuring").Row, rows("command")
    made = [
        Row("a", "1 s", "2 s", "0.5", "<= 1", True, "12 [11, 13] %"),
        Row("b", "3 s", "2 s", "1.5", "<= 1", False),
    ]
    text = command.document(made, command.Arguments(quick=True).command, 2.0)
    header, line, *body = [one for one in text.splitlines() if one.startswith("|")]
    assert "share of a plain large matrix product" in header
    assert body == ["| a | 1 s | 2 s | 0.5 | 12 [11, 13] % | <= 1 | yes |",
                    "| b | 3 s | 2 s | 1.5 | - | <= 1 | **no** |"]  # fmt: skip
    assert "`python3 scripts/benchmark.py --quick`" in text


def test_benchmark_measures_a_row(call, tmp_path):
    out = tmp_path / "benchmarks.md"
    before = (ROOT / "docs" / "benchmarks.md").read_bytes()
    arguments = ["--rows", "auroc", "start", "--quick", "--out", out]
    code, _, err = call("scripts/benchmark.py", *arguments)
    assert code == 0, err
    rows = [line for line in out.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 3 and "scikit-learn" in rows[1] and "second start" in rows[2]
    assert (ROOT / "docs" / "benchmarks.md").read_bytes() == before


# ---- rows for a GPU ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GPU_ROWS)
def test_rows_for_a_gpu_say_that_they_were_not_measured(rows, name, tmp_path):
    gpu = rows("gpu")
    if gpu.has_gpu():
        pytest.skip("there is a GPU")
    measured = gpu.ROWS[name](1, tmp_path)
    assert len(measured) == {"gpu_resnet3d": 6, "gpu_backbones": 4}.get(name, 1)
    for row in measured:
        assert row.result.startswith("not measured: ") and row.met is None
        assert f"`python3 scripts/benchmark.py --rows {name}`" in row.result


def test_without_pytorch_keras_is_measured_alone(rows, monkeypatch, tmp_path):
    gpu = rows("gpu")
    monkeypatch.setattr(gpu, "_lacking", lambda *packages: packages[0])
    sizes = ("resnet3d", 4)
    row = gpu._beside_torch("step", tiny_network, "kolarik2023", sizes, "clips", 1, False)
    assert row.measured.endswith(" clips/s")
    assert row.reference == "PyTorch: not measured: torch is not installed"
    (row,) = gpu.backend_rows("torch", 1, tmp_path, on_cpu=True)
    assert "not measured: torch is not installed" in row.result


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is optional")
def test_pytorch_trains_the_same_resnet3d(rows, tmp_path):
    from lungsliding_tf.kolarik2023.resnet3d import build_resnet3d

    theirs = rows("torch_side").build_resnet3d18()
    ours = build_resnet3d(18, (8, 16, 16, 3))
    trainable = sum(weight.numel() for weight in theirs.parameters())
    assert trainable == sum(weight.numpy().size for weight in ours.trainable_variables)
    (row,) = rows("gpu").resnet3d_rows(1, tmp_path, (16,), 2, 4, (False,), on_cpu=True)
    assert "times PyTorch's rate" in row.result


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_model_files_answer_the_same_on_other_backends(rows, backend, tmp_path):
    pytest.importorskip(backend)
    names = ("frame_cnn2d", "rcm2d")
    for row in rows("gpu").backend_rows(backend, 1, tmp_path, names, on_cpu=True):
        assert row.met, row


def test_a_network_that_does_not_run_on_a_backend_misses_its_target(rows, monkeypatch, tmp_path):
    gpu = rows("gpu")

    def fails(*_, **__):
        raise RuntimeError("the partner ended with 1:\nTraceback\nKeyError: 'a|b'\n")

    monkeypatch.setattr(gpu, "Partner", fails)
    monkeypatch.setattr(gpu, "_lacking", lambda *packages: "")
    (row,) = gpu.backend_rows("torch", 1, tmp_path, ("frame_cnn2d",), on_cpu=True)
    assert row.met is False and row.result == "fails: KeyError: 'a/b'"


@pytest.fixture
def partner_of(rows, monkeypatch, tmp_path):
    """Makes a partner of a program."""
    partner = rows("partner")
    folder = tmp_path / "benchmark_rows"
    folder.mkdir()
    shutil.copy(partner.__file__, folder)
    monkeypatch.setattr(partner, "SCRIPTS", tmp_path)

    def start(program, *arguments):
        (folder / "program.py").write_text(program)
        return partner.Partner("program", *arguments)

    return start


def test_a_partner_answers_each_line(partner_of):
    program = (
        "import sys\nfrom benchmark_rows.partner import serve\n"
        "print('a note of some library')\nserve('echo on ' + sys.argv[1], str.upper)\n"
    )
    with partner_of(program, "cpu") as echo:
        assert echo.described == "echo on cpu"
        assert [echo("one"), echo("two"), echo()] == ["ONE", "TWO", "done"]


def test_a_partner_that_fails_tells_why_and_leaves_nothing_open(partner_of, rows, monkeypatch):
    started, popen = [], subprocess.Popen

    def start(*arguments, **settings):
        started.append((popen(*arguments, **settings), settings["stderr"]))
        return started[0][0]

    monkeypatch.setattr(rows("partner").subprocess, "Popen", start)
    with pytest.raises(RuntimeError, match="no such device"):
        partner_of("raise OSError('no such device')")
    ((process, errors),) = started
    assert process.stdin.closed and process.stdout.closed and errors.closed


def test_a_partner_that_ends_between_two_calls_tells_why(partner_of):
    program = (
        "import sys\nfrom benchmark_rows.partner import ANSWER\n"
        "print(ANSWER + 'up', flush=True)\nsys.exit('out of memory')\n"
    )
    with pytest.raises(RuntimeError, match="the partner ended with 1:\nout of memory"):
        with partner_of(program) as partner:
            partner._process.wait()
            partner("one")


def test_a_row_has_a_process_of_its_own_and_a_killed_one_loses_no_other(rows, monkeypatch):
    command = rows("command")
    (row,) = command.measure_apart("auroc", 1)
    assert row.name.startswith("100 AUROC") and row.result

    class Killed(command.ProcessPoolExecutor):
        def submit(self, *_):
            raise command.BrokenProcessPool

    monkeypatch.setattr(command, "ProcessPoolExecutor", Killed)
    (row,) = command.measure_apart("share_cmwra", 1)
    assert "killed" in row.result and "--rows share_cmwra" in row.result and row.met is None
