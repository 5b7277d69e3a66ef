"""The named experiments: which networks are trained, with what changed, for which printed row."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lungsliding_tf.dzhulai2024.config import FLOW_NETWORKS, DzhulaiConfig, Network

STUDY = "dzhulai2024"
NO_ROW = "-"
SWEPT = ("-dropout_", "-clipping_", "-frames_", "-flow_step_", "-gamma_", "-batch_size_",
         "_normalisation", "-augmentation_")  # fmt: skip
# Inferred: Tables II and III were made with 34 frames: 132 clips of 34 frames and the 100 clips of
# 45 frames of Table V last equally long, 25 and 20 absent ones too.
TABLE_FRAMES = 34


@dataclass(frozen=True)
class Planned:
    """One network to train.

    Attributes:
        name: its folder: the experiment's name, and what sets the run apart from the study's own.
        config: the study's, with this experiment's changes.
        row, tables: of the paper's, where it prints this network's numbers.
        fits_val: whether the validation part is trained on too.
        normalise: whether the recurrent network normalises what its GRU sees.
    """

    name: str
    config: DzhulaiConfig
    network: Network
    row: str = NO_ROW
    tables: tuple[str, ...] = ()
    fits_val: bool = False
    normalise: bool = True

    @property
    def part(self) -> str:
        """What this experiment is summarised on."""
        # Paper: section IV: the validation part was exclusively for experiments and tuning.
        return "val" if any(word in self.name for word in SWEPT) else "test"

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return self.config.frames_of(self.network)

    @property
    def flow_step(self) -> int:
        """The frames between two pictures of the stored flow; 0 where none is needed."""
        frozen = self.config.raft == "frozen"
        return self.config.flow_step if self.network in FLOW_NETWORKS and frozen else 0


def plan(config: DzhulaiConfig) -> list[Planned]:
    """Every network that `config` asks for, each once."""
    planned: dict[str, Planned] = {}
    if config.overfit_clips:
        config = replace(
            config, augmentation="none", dropout=0.0, rcm2d_dropout=0.0, weight_decay=0.0
        )
    for experiment in config.experiment:
        for one in EXPERIMENTS[experiment](config):
            name = one.name + _suffix(one)
            planned.setdefault(name, replace(one, name=name))
    return list(planned.values())


def published_config(one: Planned) -> DzhulaiConfig:
    """The configuration that the paper's own run of an experiment has."""
    config = one.config
    defaults = DzhulaiConfig(config.data, config.out)
    return next(
        candidate.config
        for make in EXPERIMENTS.values()
        for candidate in make(replace(defaults, network=(one.network,)))
        if candidate.name == one.name.removesuffix(_suffix(one))
    )


def _suffix(one: Planned) -> str:
    """What sets a run apart from the study's own: flow, data and sanity checks."""
    config, parts = one.config, []
    if one.network in FLOW_NETWORKS:
        parts.append(config.flow + ("-trainable" if config.raft == "trainable" else ""))
    if one.network == "rcm2d" and config.rcm2d == "released":
        parts.append("released")
    parts += ["crops"] if config.crops else []
    parts += ["released_videos"] if config.split == "released-videos" else []
    parts += ["control_frozen"] if config.control_frozen else []
    parts += [f"overfit_{config.overfit_clips}"] if config.overfit_clips else []
    parts += ["shuffled_labels"] if config.shuffle_labels else []
    return "".join(f"-{part}" for part in parts)


def _networks(config: DzhulaiConfig) -> Iterator[Planned]:
    for network in config.network:
        row, tables = NO_ROW, ()
        if network == "cmwra" and not config.crops:
            row, tables = "CMWRA", ("1",)  # Paper: section V-B: on the entire data set
        elif network == "rcm2d" and config.rcm2d == "paper":
            row, tables = "RCM2d_Small", ("figure 2",)
        # CMWRU's numbers in Table V need the experiment "final".
        yield Planned(network, config, network, row, tables)


def _first_attempts(config: DzhulaiConfig) -> Iterator[Planned]:
    for network in ("inception", "cnn2d"):
        yield Planned(network, config, network)


def _sweep(config: DzhulaiConfig, **changes) -> DzhulaiConfig:
    # Paper: section V-C: each trained for 10 epochs. Inferred: the schedule with them, as the
    # released code's "auto" has it.
    return replace(
        config, epochs=config.sweep_epochs, schedule_epochs=config.sweep_epochs, **changes
    )


def _dropout(config: DzhulaiConfig) -> Iterator[Planned]:
    for value in (0.4, 0.5, 0.6, 0.7):  # Paper: Table II
        # Inferred: with clipping at 0.1, since its third column is Table III's first.
        changed = _sweep(config, frames=_shorter(config), dropout=value, clipping=0.1)
        name = f"cmwru-dropout_{value}"
        yield Planned(name, changed, "cmwru", f"CMWRU, dropout {value}", ("2",))


def _clipping(config: DzhulaiConfig) -> Iterator[Planned]:
    for value in (0.1, 0.4, 0.5, 0.8):  # Paper: Table III
        changed = _sweep(config, frames=_shorter(config), dropout=0.6, clipping=value)
        name = f"cmwru-clipping_{value}"
        yield Planned(name, changed, "cmwru", f"CMWRU, clipping {value}", ("3",))


def _shorter(config: DzhulaiConfig) -> int:
    return min(config.frames, TABLE_FRAMES)


def _frames(config: DzhulaiConfig) -> Iterator[Planned]:
    for frames in (34, 45, 60):  # Paper: Figures 17 and 18, and Table IV
        yield Planned(f"cmwru-frames_{frames}", _sweep(config, frames=frames), "cmwru")


def _flow_step(config: DzhulaiConfig) -> Iterator[Planned]:
    for step in (1, 2, 3):  # Paper: Figures 9 to 12, on crops
        changed = _sweep(config, crops=True, flow_step=step)
        yield Planned(f"cmwra-flow_step_{step}", changed, "cmwra")


def _gamma(config: DzhulaiConfig) -> Iterator[Planned]:
    for gamma in (2.0, 3.0):  # Paper: Figure 13, on crops
        changed = _sweep(config, crops=True, gamma=gamma)
        yield Planned(f"cmwra-gamma_{gamma:g}", changed, "cmwra")


def _batch_size(config: DzhulaiConfig) -> Iterator[Planned]:
    for size in (5, 10, 20):  # Ours: section V-C names no sizes
        yield Planned(f"cmwru-batch_size_{size}", _sweep(config, batch_size=size), "cmwru")


def _normalisation(config: DzhulaiConfig) -> Iterator[Planned]:
    for normalise, word in ((True, "with"), (False, "without")):
        name = f"rcm2d-{word}_normalisation"
        yield Planned(name, _sweep(config), "rcm2d", normalise=normalise)


def _augmentation(config: DzhulaiConfig) -> Iterator[Planned]:
    for kind in ("none", "per-clip", "released"):
        changed = _sweep(config, augmentation=kind)
        yield Planned(f"cmwru-augmentation_{kind.replace('-', '_')}", changed, "cmwru")


def _final(config: DzhulaiConfig) -> Iterator[Planned]:
    # Paper: section V-D, Table V: a bigger training part. Inferred from section IV: with the
    # validation part.
    yield Planned("cmwru-final", config, "cmwru", "CMWRU", ("5", "section V-D"), fits_val=True)


EXPERIMENTS = {
    "networks": _networks,
    "first-attempts": _first_attempts,
    "dropout": _dropout,
    "clipping": _clipping,
    "frames": _frames,
    "flow-step": _flow_step,
    "gamma": _gamma,
    "batch-size": _batch_size,
    "normalisation": _normalisation,
    "augmentation": _augmentation,
    "final": _final,
}
