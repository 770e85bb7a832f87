"""Which packs a study's missing cells make on given workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from rdstudy.errors import UserError
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Cell, Study
from rdstudy.training.packs import Pack, plan_packs


@runtime_checkable
class Workers(Protocol):
    """What packs are planned for: workers side by side, their device, and the bytes that a pack may use."""

    @property
    def workers(self) -> int: ...

    @property
    def device(self) -> str: ...

    @property
    def memory_per_pack(self) -> float: ...


def packs_of(study: Study, results: StoragePath, cells: Iterable[Cell], pixels: int, on: Workers) -> list[Pack]:
    """Packs of these cells; those that began to train together stay together.

    Args:
        study: sets the pack size.
        results: the results folder, which holds the checkpoints of unfinished packs.
        cells: what is to be trained.
        pixels: numbers per image.
        on: the workers.

    Raises:
        UserError: a single model does not fit into the memory of a pack.
    """
    try:
        return plan_packs(
            cells,
            pixels=pixels,
            pack_size=study.resources.pack_size,
            device=on.device,
            workers=on.workers,
            memory_bytes=on.memory_per_pack,
            kept=Checkpoints(results).begun(),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
