"""Checkpoints of unfinished packs, from which training resumes bit for bit.

    checkpoints/<pack>/<step>.safetensors    tensors, and as metadata the record and the rows measured so far

The newest two are kept, so that a damaged checkpoint can be replaced by the one before. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open

from rdstudy.data.files import open_regular
from rdstudy.storage.files import atomic_write, remove, remove_folder
from rdstudy.storage.paths import StoragePath, in_bucket, list_files, list_folders, local_copy
from rdstudy.storage.schema import Measurement

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 2
READERS = 16


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A pack's state at one step, from the trainer's method `state`, with the rows measured up to it."""

    tensors: dict[str, Tensor]
    record: dict[str, Any]
    rows: tuple[Measurement, ...]


class Checkpoints:
    """The checkpoints of one results folder."""

    def __init__(self, root: StoragePath) -> None:
        """Use the checkpoints of the results folder `root`."""
        self.folder = root / "checkpoints"

    def save(self, pack_id: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove all but the newest two of its pack."""
        folder = self.folder / pack_id
        path = folder / f"{checkpoint.record['step']:012d}.safetensors"
        atomic_write(path, lambda file: file.writelines(_safetensors_chunks(checkpoint)))
        for old in self._files(folder)[KEPT:]:
            remove(old)

    def load(self, pack_id: str, cells: Sequence[str], *, elsewhere: bool = True) -> Checkpoint | None:
        """The newest complete checkpoint that holds all these cells: the pack's own, or a larger pack's.

        Args:
            pack_id: the pack.
            cells: ids of the pack's cells.
            elsewhere: whether to look at other packs too, which reads a header of every unfinished pack.

        Returns:
            The checkpoint, or None if there is none.
        """
        own = self.folder / pack_id
        others = [folder for folder in self._folders() if folder != own] if elsewhere else []
        for folder in [own, *others]:
            for path in self._files(folder):
                members = _members(path)
                if members is None or not set(cells) <= set(members):
                    continue
                checkpoint = _load(path)
                if checkpoint is not None:
                    return checkpoint
        return None

    def begun(self) -> list[list[str]]:
        """Cell ids of every unfinished pack, smaller packs first: halves before the pack they were split from."""
        return sorted((members for members, _ in self.progress()), key=len)

    def progress(self) -> list[tuple[list[str], int]]:
        """Cell ids and step of every unfinished pack."""
        return [newest for _, newest in self.newest() if newest is not None]

    def remove(self, pack_id: str) -> None:
        """Remove a pack's checkpoints, if it has any."""
        folder = self.folder / pack_id
        if self._files(folder):
            remove_folder(folder)

    def remove_finished(self, finished: set[str]) -> None:
        """Remove checkpoints of packs whose cells are all finished, and of packs without a complete checkpoint."""
        for folder, newest in self.newest():
            if newest is None or set(newest[0]) <= finished:
                remove_folder(folder)

    def newest(self) -> list[tuple[StoragePath, tuple[list[str], int] | None]]:
        """The folder of every unfinished pack, with the cell ids and step of its newest complete checkpoint."""

        def newest_of(folder: StoragePath) -> tuple[list[str], int] | None:
            for path in self._files(folder):
                members = _members(path)
                if members is not None:
                    return members, int(path.stem)
            return None

        folders = self._folders()
        with ThreadPoolExecutor(READERS) as readers:  # requests to a bucket are slow
            return list(zip(folders, readers.map(newest_of, folders), strict=True))

    def _folders(self) -> list[StoragePath]:
        return list_folders(self.folder)

    @staticmethod
    def _files(folder: StoragePath) -> list[StoragePath]:
        """Checkpoints of one pack, newest first."""
        return [folder / name for name in reversed(list_files(folder, ".safetensors"))]


class AsyncCheckpointer:
    """Writes the checkpoints of a pack in a thread, beside training. As a context manager it waits for the last one."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        """Write to `checkpoints`."""
        self.checkpoints = checkpoints
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None

    def __enter__(self) -> AsyncCheckpointer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.shutdown()

    def save(self, pack_id: str, checkpoint: Checkpoint) -> None:
        """Copy the state and start writing it, once the previous checkpoint is written.

        Raises:
            StorageError: the previous checkpoint could not be written.
        """
        self.wait()
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in checkpoint.tensors.items()}
        copy = dataclasses.replace(checkpoint, tensors=copies)
        self._written = self._writer.submit(self.checkpoints.save, pack_id, copy)

    @property
    def writing(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._written is not None and not self._written.done()

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            StorageError: the checkpoint could not be written.
        """
        if self._written is not None:
            written, self._written = self._written, None
            written.result()


_DTYPES = {"torch.float32": "F32", "torch.float64": "F64"}


def _safetensors_chunks(checkpoint: Checkpoint) -> Iterator[bytes | memoryview]:
    """Yield a safetensors file: 8 bytes with the length of the header, a JSON header, then tensor after tensor."""
    # Not the library's writers: `save` needs a second copy in memory, `save_file` hides the errno of a full disk.
    metadata = {
        "record": json.dumps(checkpoint.record),
        "rows": json.dumps([_row_to_json(row) for row in checkpoint.rows]),
    }
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in checkpoint.tensors.items()}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        dtype = _DTYPES[str(checkpoint.tensors[name].dtype)]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    yield len(text).to_bytes(8, "little") + text
    for array in arrays.values():
        yield array.data


class _Record(BaseModel):
    """What every checkpoint says of its pack; other keys are the trainer's."""

    model_config = ConfigDict(strict=True, extra="allow")

    step: Annotated[int, Field(ge=0)]
    cells: Annotated[list[str], Field(min_length=1)]
    diverged: dict[str, str] = {}
    seconds: float = 0.0


MAX_HEADER = 2**30
"""Bytes of a checkpoint's header; that of 4,096 models with all their rows has 0.1 GB."""


def _members(path: StoragePath) -> list[str] | None:
    """Cell ids in a checkpoint; None if the file is damaged, foreign or missing."""
    try:
        with path.open("rb") if in_bucket(path) else open_regular(path) as file:
            # Only the header is read: 8 bytes with its length, then JSON (the safetensors format).
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, MAX_HEADER)))
            end = file.seek(0, 2)
        metadata = header.pop("__metadata__")
        if end != 8 + length + max(tensor["data_offsets"][1] for tensor in header.values()):
            return None
        record = _Record.model_validate_json(metadata["record"])
        return record.cells if record.step == int(path.stem) else None
    except (FileNotFoundError, IsADirectoryError, *_DAMAGE):
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ELOOP):  # a pipe, or a link to itself
            return None
        raise


_DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError)


def _load(path: StoragePath) -> Checkpoint | None:
    """A checkpoint; None if the file is damaged or missing."""
    try:
        with local_copy(path) as copy, safe_open(copy, "pt") as file:
            metadata = file.metadata()
            rows = tuple(_row_from_json(row) for row in json.loads(metadata["rows"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            record = _Record.model_validate_json(metadata["record"])
            return Checkpoint(tensors, record.model_dump(exclude_unset=True), rows)
    except (FileNotFoundError, *_DAMAGE):
        return None


def _row_to_json(row: Measurement) -> dict[str, Any]:
    record = dataclasses.asdict(row)
    if row.finished_at is not None:
        record["finished_at"] = row.finished_at.isoformat()
    return {name: value for name, value in record.items() if value is not None}


def _row_from_json(record: dict[str, Any]) -> Measurement:
    if "finished_at" in record:
        record["finished_at"] = dt.datetime.fromisoformat(record["finished_at"])
    return Measurement(**record)
