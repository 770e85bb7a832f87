"""Which packs a study's missing cells make on given workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rdstudy.errors import UserError
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Cell, Study
from rdstudy.training.packs import Pack, plan_packs


@dataclass(frozen=True, slots=True)
class Workers:
    """What packs are planned for.

    Attributes:
        count: packs that train side by side.
        device: `cpu`, `cuda` or `mps`.
        memory_per_pack: bytes that a pack may use.
    """

    count: int
    device: str
    memory_per_pack: float


def packs_of(study: Study, results: StoragePath, cells: Iterable[Cell], pixels: int, workers: Workers) -> list[Pack]:
    """Packs of these cells; those that began to train together stay together.

    Args:
        study: sets the pack size.
        results: the results folder, which holds the checkpoints of unfinished packs.
        cells: what is to be trained.
        pixels: numbers per image.
        workers: how many there are, and what they offer.

    Raises:
        UserError: a single model does not fit into the memory of a pack.
    """
    try:
        return plan_packs(
            cells,
            pixels=pixels,
            pack_size=study.resources.pack_size,
            device=workers.device,
            workers=workers.count,
            memory_bytes=workers.memory_per_pack,
            kept=Checkpoints(results).begun(),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
