"""The section `evaluation` of a study file: what is measured when. A section of its own for each measure's settings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, create_model

from rdstudy.study.hashing import digest
from rdstudy.study.measures import MeasureSpec, measure_classes
from rdstudy.study.renamed_keys import Record
from rdstudy.study.scalars import Strict
from rdstudy.study.schedule import LogSpaced, Steps, steps_within


class _Evaluation(Strict):
    """What is measured when. Rate, distortion and ELBO always; the costly estimates at the final step."""

    steps: Steps = Field(
        LogSpaced(log_spaced=12),
        description="Steps at which train and test are measured; the final step always is. A list or {log_spaced: N}.",
    )

    _classes: ClassVar[Mapping[str, type[MeasureSpec]]] = {}

    if TYPE_CHECKING:
        num_images: int

        def __init__(self, **sections: object) -> None: ...

    @property
    def measures(self) -> dict[str, MeasureSpec]:
        """Every measure with this study's settings, by name, in the order in which they are computed."""
        return {
            name: getattr(self, name) if measure.model_fields else measure() for name, measure in self._classes.items()
        }

    def steps_of(self, final: int) -> tuple[int, ...]:
        """Steps, ascending, at which a cell of `final` training steps is measured; ends with `final`."""
        wanted = steps_within(self.steps, final) | {final}
        for measure in self.measures.values():
            wanted |= measure.own_steps(final)
        return tuple(sorted(wanted))

    @property
    def identity(self) -> Record:
        """What of this determines the values of a row (not which rows there are)."""
        return {
            "distortion_draws": 1,
            **{
                measure.stream or name: None if measure.is_off else measure.identity
                for name, measure in self.measures.items()
                if type(measure).model_fields and not (measure.added and _as_before(measure))
            },
        }

    @cached_property
    def evaluation_id(self) -> str:
        """Hash of the settings that determine a row's values; part of the row's key."""
        return digest(self.identity, 4)


def _as_before(measure: MeasureSpec) -> bool:
    """Whether it does what it does where it is not named, so that its settings change nothing."""
    default = type(measure)()
    return measure == default or (measure.is_off and default.is_off)


_NUM_IMAGES: tuple[Any, Any] = (
    Annotated[int, Field(ge=0, le=64)],
    Field(8, description="Images per population kept as reconstructions, and as samples, of each cell; 0 for none."),
)


def evaluation_section(classes: Mapping[str, type[MeasureSpec]]) -> type[_Evaluation]:
    """The section's record, with a section of its own for each measure that has settings.

    Args:
        classes: the measures by name.
    """
    sections: dict[str, Any] = {name: (each, each()) for name, each in classes.items() if each.model_fields}
    made = create_model(
        "Evaluation",
        __base__=_Evaluation,
        __module__=__name__,
        __doc__=_Evaluation.__doc__,
        **sections,
        num_images=_NUM_IMAGES,
    )
    made._classes = classes
    return made


if TYPE_CHECKING:
    Evaluation = _Evaluation
else:
    Evaluation = evaluation_section(measure_classes())
