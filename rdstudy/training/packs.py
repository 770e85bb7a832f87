"""Which cells train together: packs of equal parameter shapes, training budget and images. Pure.

One pack is one stacked model and one Ray Tune trial. How cells are packed changes speed, never a result.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Literal

from rdstudy.data.loading import GENERATED
from rdstudy.models.shape import model_shape
from rdstudy.study import Cell
from rdstudy.study.axes import AXES
from rdstudy.study.early_stopping import Limits

_packing_values: Callable[[Cell], tuple[object, ...]] = attrgetter(
    *(name for name, axis in AXES.items() if axis.shape or axis.schedule)
)
FAST_PACK = {"cpu": 8, "mps": 32, "cuda": 128}
"""Most models in an automatic pack. On a CPU larger packs fall out of the caches and gain nothing; on an H100, of sizes
from 1 to 512, 128 is within an eighth of the fastest at widths of 64 and 512 and depths of 1 and 3."""
MAX_STATE = 2 * 2**30
"""Bytes of parameters and moments in an automatic pack on a GPU: so much is written at each checkpoint, and lies in
the host's memory up to four times meanwhile. With 3,072 pixels that is some 50 models, a tenth slower than 128."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Cells that train at once, and how many.

    Attributes:
        cells: members.
        resumed: training began before, so the newest checkpoint may be that of a larger pack.
        limits: by cell id, of the cells that may be stopped early.
    """

    cells: tuple[Cell, ...]
    resumed: bool = field(default=False, compare=False)
    limits: Mapping[str, Limits] = field(default_factory=dict, compare=False)

    @property
    def id(self) -> str:
        """Hash of the member cells."""
        members = ",".join(sorted(cell.id for cell in self.cells))
        return "pack-" + hashlib.blake2b(members.encode(), digest_size=6).hexdigest()

    @property
    def steps(self) -> int:
        """Training steps, the same for every member."""
        return self.cells[0].steps

    def __len__(self) -> int:
        return len(self.cells)

    def part(self, cells: Iterable[Cell]) -> Pack:
        """Some of the members, which go on from where the pack stands."""
        return Pack(tuple(cells), resumed=True, limits=self.limits)

    def without(self, ids: Iterable[str]) -> Pack:
        """The other members, which go on from where the pack stands; there may be none."""
        gone = set(ids)
        return self.part(cell for cell in self.cells if cell.id not in gone)

    def limited(self, limits: Mapping[str, Limits]) -> Pack:
        """The pack with the limits of its members."""
        mine = {cell.id: limits[cell.id] for cell in self.cells if cell.id in limits}
        return replace(self, limits=mine)


def packing_key(cell: Cell) -> tuple[object, ...]:
    """Cells with equal keys can train together: equal parameter shapes, budget, optimizer and images."""
    return (*_packing_values(cell), images_key(cell))


def images_key(cell: Cell) -> int | None:
    """The data seed, where the images depend on it: cells with equal keys share their images."""
    return cell.data_seed if cell.dataset in GENERATED else None


def flop(cell: Cell, pixels: int) -> float:
    """Arithmetic of the matrix products of a cell's whole training."""
    return model_shape(cell, pixels).flop_per_step(cell.batch_size) * cell.steps


def plan_packs(
    cells: Iterable[Cell],
    *,
    pixels: int,
    pack_size: int | Literal["auto"] = "auto",
    device: str = "cpu",
    workers: int = 1,
    memory_bytes: float = math.inf,
    kept: Sequence[Sequence[str]] = (),
) -> list[Pack]:
    """Every cell in exactly one pack, longest packs first.

    Args:
        cells: what is to be trained.
        pixels: numbers per image.
        pack_size: most models per pack; auto: as many as are fast on `device` and fit into `memory_bytes` (on a GPU
            also into `MAX_STATE`), but few enough that every worker has a pack.
        workers: packs that train side by side.
        memory_bytes: memory for one pack, its data not counted.
        kept: members (cell ids) of packs already begun: they stay together as long as they are wanted.

    Raises:
        ValueError: one model alone does not fit into `memory_bytes`.
    """
    wanted = {cell.id: cell for cell in cells}
    packs = []
    for members in kept:
        begun = [wanted.pop(cell_id) for cell_id in members if cell_id in wanted]
        if begun:
            packs.append(Pack(tuple(begun), resumed=True))
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in wanted.values():
        groups.setdefault(packing_key(cell), []).append(cell)
    total = sum(flop(cell, pixels) for cell in wanted.values())
    for group in groups.values():
        size = _pack_size(group, pixels, pack_size, device, memory_bytes)
        n_packs = math.ceil(len(group) / size)
        if pack_size == "auto":
            share = sum(flop(cell, pixels) for cell in group) / total
            n_packs = max(n_packs, min(len(group), math.ceil(share * workers)))
        # Like with like: cells of one train size take equally long to measure.
        ordered = sorted(group, key=lambda cell: (-cell.train_size, cell.split))
        for i in range(n_packs):
            packs.append(Pack(tuple(ordered[i * len(group) // n_packs : (i + 1) * len(group) // n_packs])))
    return sorted(packs, key=lambda pack: -sum(flop(cell, pixels) for cell in pack.cells))


def _pack_size(
    group: Sequence[Cell], pixels: int, pack_size: int | Literal["auto"], device: str, memory_bytes: float
) -> int:
    cell = group[0]
    if pack_size != "auto":
        return pack_size
    number = 8 if cell.precision == "float64" else 4
    per_model = model_shape(cell, pixels).bytes_per_model(cell.batch_size, bytes_per_number=number)
    fits = int(memory_bytes // per_model) if math.isfinite(memory_bytes) else len(group)
    if fits < 1:
        raise ValueError(
            f"one {cell.depth}x{cell.width} model needs {per_model / 2**30:.2f} GiB, but a pack may use "
            f"{memory_bytes / 2**30:.2f} GiB beside its data: raise resources.memory_per_pack_gib or train fewer "
            "packs side by side (resources.cpus_per_pack, resources.gpus_per_pack)"
        )
    held = len(group)
    if device == "cuda":
        held = int(MAX_STATE // (3 * number * model_shape(cell, pixels).row))
    return max(1, min(fits, held, FAST_PACK[device]))
