"""A small cohort of phantom films; made once a session."""

from pathlib import Path

import pytest

from vbreathnet.config import VBreathNetConfig


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> Path:
    """12 phantom films of each class, 112 px, in the database's layout."""
    from vbreathnet.phantom import write_cohort

    out = tmp_path_factory.mktemp("films") / "data"
    return write_cohort(out, per_class=12, seed=4, size=112, workers=2, progress=False)


@pytest.fixture
def small_config(films, tmp_path) -> VBreathNetConfig:
    """A configuration for those films, in an empty output folder."""
    return VBreathNetConfig(
        data=films, out=tmp_path / "out", image_size=96, test_per_class=2, per_class=10,
        model=("v-breathnet",), epochs=1, batch_size=8, smooth_samples=2, min_sharpness=0,
        min_contrast=0,
    )  # fmt: skip
