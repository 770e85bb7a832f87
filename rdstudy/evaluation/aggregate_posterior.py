"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n), evaluated exactly over all N examples.

Direct evaluation forms z - mean_n for every pair and is limited by memory bandwidth. Here the exponents of a tile of
pairs are one matrix product into a buffer that stays in cache,

    log q(z|x_n) = [z^2, z, 1] . [-1 / (2 std_n^2), mean_n / std_n^2, c_n].

Expanding the square cancels digits: the error is about (|z| + |mean|)^2 / std^2 roundings. Every tile has a bound on
this error, which selects one of four methods:

    skip      bounding boxes of its draws and means prove that no pair of the tile matters
    trust     the bound is below `TOLERANCE`: exponentiate and sum
    refine    the bound is larger: the product finds the pairs that may matter, which are evaluated by differences
    repeat    these pairs are too many: the whole tile is evaluated by differences, in cache

A pair matters relative to the draw's anchor, the exact log density of one component at z, which is a lower bound of
log q(z). Each decision is proven, so the result is the sum over all N components with every method.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rdstudy.models.objective import LOG_TWO_PI

TOLERANCE = 5e-10
"""Largest bound on the error of an exponent that is used unrefined, relative to max(1, |log q(z)|)."""
NEGLIGIBLE = 1e-12
"""Upper bound of the total of all pairs left out of a sum, relative to the sum."""
LARGEST_EXPONENT = 600.0
"""Exponentials up to here do not overflow in float64 (that takes 709), nor does a sum of many of them."""
CROWDED_ROWS = 0.3
"""Share of draws to which a tile matters, above which the tile is exponentiated for all draws."""
CROWDED_PAIRS = 0.1
"""Share of pairs that may matter, above which differences of all pairs cost less than of those alone."""
PAIRS_IN_CACHE, PAIRS_ON_DEVICE = 2**18, 2**26
"""Pairs per tile by default: 2 MiB fit a CPU core's cache; 512 MiB on a GPU, where launches are expensive."""


def log_aggregate_posterior(
    z: Float[Tensor, "draws latent"],
    mean: Float[Tensor, "examples latent"],
    log_std: Float[Tensor, "examples latent"],
    *,
    drawn_from: Int[Tensor, " draws"] | None = None,
    chunk_size: int | None = None,
) -> Float[Tensor, " draws"]:
    """Log density of the aggregate posterior at each z, over all N examples.

        log q(z) = log 1/N sum_n N(z; mean_n, diag std_n^2)

    Exact over every component: the error is below 1e-9 max(1, |log q(z)|), tested for std from 1e-6 to 10 with
    means to 1e3. Computed in float64 for every input dtype, because the terms that cancel can exceed the result
    by a factor of 1e5; float32 input is converted without loss.

    Memory beyond the inputs: at most 8 chunk_size + (8 latent + 20) (examples + draws) numbers of 8 bytes,
    about 110 MB for 60,000 examples and draws of 10 latents. Time grows with examples times draws, less the
    skipped tiles.

    Args:
        z: points to evaluate at, in latent units.
        mean: posterior means of the population.
        log_std: logarithms of the posterior standard deviations.
        drawn_from: index of the example whose posterior each z was drawn from, if known. This saves a pass over
            all pairs and does not change the result beyond rounding.
        chunk_size: pairs (z, example) held at once; does not change the result beyond rounding. Default:
            2**18 on a CPU, 2**26 elsewhere.

    Returns:
        log q(z) in nats, float64.

    Raises:
        ValueError: shapes that disagree, an empty population, numbers that are not finite, chunk_size < 1.

    References:
        Hoffman & Johnson 2016 (the average encoding distribution of a data set).
    """
    return AggregatePosterior(mean, log_std, chunk_size=chunk_size).log_density(z, drawn_from=drawn_from)


class AggregatePosterior:
    """The mixture of a population's posteriors, prepared once and evaluated at many draws.

    Components are ordered along the latent dimension that separates them best, so that tiles are narrow there and
    can be skipped where posteriors are sharp. Components with a small error bound come first.
    """

    def __init__(
        self,
        mean: Float[Tensor, "examples latent"],
        log_std: Float[Tensor, "examples latent"],
        *,
        chunk_size: int | None = None,
    ) -> None:
        """Prepare a population. Args and Raises as in `log_aggregate_posterior`."""
        if mean.numel() == 0 or mean.shape != log_std.shape:
            raise ValueError(
                f"mean is {list(mean.shape)} and log_std {list(log_std.shape)}: "
                "both must be [examples, latent] of the same population, with at least one of each."
            )
        if chunk_size is None:
            chunk_size = PAIRS_IN_CACHE if mean.device.type == "cpu" else PAIRS_ON_DEVICE
        if chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size} pairs; it must be at least 1.")
        _require_finite("mean", mean)
        _require_finite("log_std", log_std)
        mean, log_std = mean.detach().double(), log_std.detach().double()
        self.examples, self.latent = mean.shape
        self._chunk_size = chunk_size
        self._rows = max(1, math.isqrt(chunk_size // 4))  # tiles are wide: some work is per row and tile
        self._columns = min(self.examples, chunk_size // self._rows)
        # A computed sum of k products is off by at most k u sum |a b| (Higham 2002, section 3.1). The factors
        # are rounded too, by less than 8 u together; twice all that covers terms of higher order.
        self._rounding = 2 * (2 * self.latent + 2 + 8) * 2.0**-53
        self._window = math.log(self.examples / NEGLIGIBLE)

        self._centre = _median(mean)
        spread = (mean - self._centre).abs().mean(0)
        self._axis = int((spread.log() - _median(log_std)).argmax())
        order = self._arrange(mean, log_std)
        self._place = torch.empty_like(order)
        self._place[order] = torch.arange(self.examples, device=mean.device)
        mean, log_std = mean[order], log_std[order]

        self._mean, self._inverse_std = mean, (-log_std).exp()
        self._log_weight = -log_std.sum(-1) - 0.5 * LOG_TWO_PI * self.latent - math.log(self.examples)
        self._precision = (-2 * log_std).exp()
        centred = mean - self._centre
        quadratic = (self._precision * centred.square()).sum(-1)
        constant = self._log_weight - 0.5 * quadratic
        one = torch.ones_like(constant)
        self._features = torch.cat(
            [-0.5 * self._precision, self._precision * centred, constant[:, None], one[:, None]], dim=1
        )
        self._magnitude = quadratic + log_std.abs().sum(-1) + LOG_TWO_PI * self.latent + self._window
        self._lowest, self._highest = -self._tile_max(-mean), self._tile_max(mean)
        self._sharpness = (-self._tile_max(log_std)).exp()  # 1 / the widest std of a tile
        self._peak = self._tile_max(self._log_weight)
        self._buffer = mean.new_empty(self._rows * self._columns)

    def log_density(
        self, z: Float[Tensor, "draws latent"], *, drawn_from: Int[Tensor, " draws"] | None = None
    ) -> Float[Tensor, " draws"]:
        """Evaluate log q(z) in nats at each z; see `log_aggregate_posterior`."""
        if z.shape[1] != self.latent:
            raise ValueError(f"z has {z.shape[1]} latents, the population has {self.latent}.")
        _require_finite("z", z)
        z = z.detach().double()
        order = z[:, self._axis].argsort()
        z = z[order]
        if drawn_from is None:
            anchor = self._anchor(z)
        else:
            if bool(((drawn_from < 0) | (drawn_from >= self.examples)).any()):
                raise ValueError(
                    f"drawn_from holds indices from {int(drawn_from.min())} to {int(drawn_from.max())}; "
                    f"the population's examples are 0 to {self.examples - 1}."
                )
            anchor = self._component(z, self._place[drawn_from[order]])
            far = self._peak.max() - anchor > LARGEST_EXPONENT  # might overflow: not a draw of that code
            anchor[far] = self._anchor(z[far])
        ordered = torch.empty_like(anchor)
        for start in range(0, len(z), self._rows):
            block = slice(start, start + self._rows)
            ordered[block] = self._sum(z[block], anchor[block])
        density = torch.empty_like(anchor)
        density[order] = ordered
        return density

    def _sum(self, z: Float[Tensor, "rows latent"], anchor: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """Evaluate log q(z) of one block of draws, given lower bounds of it."""
        error = self._error_bounds(z, anchor)
        trusted = (error <= TOLERANCE * max(1.0, float(anchor.abs().min()))).tolist()
        tiles = (~(self._highest_exponents(z) < anchor.min() - self._window)).nonzero()[:, 0]
        features = self._draw_features(z, anchor)
        added = torch.zeros_like(anchor)
        refined = torch.full_like(anchor, -math.inf)
        crowded = False
        for count, (tile, slack) in enumerate(zip(tiles.tolist(), error[tiles].tolist(), strict=True)):
            exponent = self._product(features, self._tile_features(tile))
            if trusted[tile] and crowded and count % 8:  # as the tile before; looking costs a pass
                added += self._exponentiate(exponent).sum(1)
                continue
            near = ~(exponent.amax(1) <= -self._window - slack)  # negated: overflow (NaN) may matter
            rows = near.nonzero()[:, 0]
            crowded = len(rows) > CROWDED_ROWS * len(z)
            if len(rows) == 0:
                continue
            if not trusted[tile]:
                found = self._refine(z[rows], exponent[rows], tile, slack)
                refined[rows] = torch.logaddexp(refined[rows], found)
            elif crowded:
                added += self._exponentiate(exponent).sum(1)
            else:
                added[rows] += self._exponentiate(exponent[rows]).sum(1)
        return torch.fmax(torch.logaddexp(anchor + added.log(), refined), anchor)

    def _arrange(
        self, mean: Float[Tensor, "examples latent"], log_std: Float[Tensor, "examples latent"]
    ) -> Int[Tensor, " examples"]:
        """Order of the components: first those the product can trust at typical draws, each kind by axis."""
        centred, precision = mean - self._centre, (-2 * log_std).exp()
        reach = 4 * centred.square().mean(0).sqrt() + _median(log_std).exp()
        error = self._rounding * (precision * (centred.square() + reach.square())).sum(-1)
        order = mean[:, self._axis].argsort()
        return order[(error > TOLERANCE)[order].int().argsort(stable=True)]

    def _tile_max(self, values: Float[Tensor, "examples ..."]) -> Float[Tensor, "tiles ..."]:
        """Largest value within each tile of components."""
        tiles = -(-self.examples // self._columns)
        padded = values.new_full((tiles * self._columns, *values.shape[1:]), -math.inf)
        padded[: self.examples] = values
        return padded.view(tiles, self._columns, *values.shape[1:]).amax(1)

    def _component(self, z: Float[Tensor, "draws latent"], component: Int[Tensor, " draws"]) -> Float[Tensor, " draws"]:
        """Evaluate log 1/N q(z|x_n) of one component per draw, by differences."""
        score = (z - self._mean[component]) * self._inverse_std[component]
        return self._log_weight[component] - 0.5 * score.square().sum(-1)

    def _anchor(self, z: Float[Tensor, "draws latent"]) -> Float[Tensor, " draws"]:
        """Lower bounds of log q(z): the largest component found, less what the product may have added."""
        anchor = z.new_full((len(z),), -math.inf)
        sample = self._features[:: -(-self.examples // self._columns)]
        for start in range(0, len(z), self._rows):
            rows = slice(start, start + self._rows)
            block, best = z[rows], anchor[rows]
            zero = torch.zeros_like(best)
            features = self._draw_features(block, zero)
            error = self._error_bounds(block, zero)
            if bool((error <= TOLERANCE).all()):
                best.copy_(self._product(features, sample).amax(1) - TOLERANCE)
                if bool((self._peak.max() - best <= LARGEST_EXPONENT).all()):
                    continue  # nothing can overflow, nothing will be refined: it need not be tight
            slack = error.tolist()
            highest = self._highest_exponents(block)
            for tile in highest.argsort(descending=True).tolist():
                if bool(highest[tile] < best.min()):
                    break
                exponent = self._product(features, self._tile_features(tile))
                if slack[tile] <= 1.0:
                    found = exponent.amax(1) - slack[tile]
                else:  # no number to rely on: evaluate the component that looks largest
                    found = self._component(block, tile * self._columns + exponent.argmax(1))
                torch.fmax(best, found, out=best)
        return anchor

    def _tile_features(self, tile: int) -> Float[Tensor, "columns features"]:
        return self._features[tile * self._columns : (tile + 1) * self._columns]

    def _draw_features(
        self, z: Float[Tensor, "rows latent"], anchor: Float[Tensor, " rows"]
    ) -> Float[Tensor, "rows features"]:
        centred = z - self._centre
        return torch.cat([centred.square(), centred, torch.ones_like(anchor)[:, None], -anchor[:, None]], dim=1)

    def _product(
        self, draws: Float[Tensor, "rows features"], components: Float[Tensor, "columns features"]
    ) -> Float[Tensor, "rows columns"]:
        """Evaluate log 1/N q(z|x_n) - anchor of a tile of pairs, in a buffer that the next call overwrites."""
        rows, columns = len(draws), len(components)
        return torch.mm(draws, components.T, out=self._buffer[: rows * columns].view(rows, columns))

    def _exponentiate(self, exponent: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """In place; clamped where it cannot matter, as exp takes up to 50 times longer if it underflows."""
        return exponent.clamp_(min=-2 * self._window).exp_()

    def _error_bounds(self, z: Float[Tensor, "rows latent"], anchor: Float[Tensor, " rows"]) -> Float[Tensor, " tiles"]:
        """Largest possible error of the product's exponents within each tile, for this block of draws.

        The magnitudes of its terms sum to 1/2 sum_d (|z| + |mean|)^2 / std^2 <= sum_d (z^2 + mean^2) / std^2.
        """
        reach = (z - self._centre).abs().amax(0).square()
        size = self._tile_max(self._precision @ reach + self._magnitude)
        return self._rounding * (size + anchor.abs().max())

    def _highest_exponents(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, " tiles"]:
        """What log 1/N q(z|x_n) is at most in each tile, for this block of draws, from the boxes alone."""
        gap = torch.maximum(self._lowest - z.amax(0), z.amin(0) - self._highest).clamp_(min=0)
        distance = (gap * self._sharpness).square().sum(-1)
        return self._peak - (0.5 - 1e-6) * distance + 1e-6  # with room for rounding

    def _refine(
        self,
        z: Float[Tensor, "rows latent"],
        exponent: Float[Tensor, "rows columns"],
        tile: int,
        slack: float,
    ) -> Float[Tensor, " rows"]:
        """Log of the sum over a tile's components that may matter, each evaluated by differences."""
        near = ~(exponent <= -self._window - slack)
        per_row = near.sum(1)
        if int(per_row.sum()) > CROWDED_PAIRS * near.numel():
            return self._by_differences(z, tile)
        row, column = near.nonzero(as_tuple=True)
        value = torch.empty_like(row, dtype=torch.float64)
        at_once = max(1, self._chunk_size // (4 * self.latent))
        for start in range(0, len(row), at_once):
            pairs = slice(start, start + at_once)
            value[pairs] = self._component(z[row[pairs]], tile * self._columns + column[pairs])
        # Pairs come row after row. Unlike scattered sums, those of segments have the same bits every time on a GPU.
        largest = torch.segment_reduce(value, "max", lengths=per_row)
        mass = torch.segment_reduce(self._exponentiate(value - largest[row]), "sum", lengths=per_row)
        return torch.where(per_row > 0, largest + mass.log(), -math.inf)

    def _by_differences(self, z: Float[Tensor, "rows latent"], tile: int) -> Float[Tensor, " rows"]:
        """Log of the sum over a tile's components, one latent dimension after the other."""
        columns = slice(tile * self._columns, (tile + 1) * self._columns)
        mean, inverse_std = self._mean[columns], self._inverse_std[columns]
        exponent = self._log_weight[columns].repeat(len(z), 1)
        for d in range(self.latent):
            score = (z[:, d, None] - mean[:, d]).mul_(inverse_std[:, d])
            exponent.addcmul_(score, score, value=-0.5)
        largest = exponent.amax(1).clamp_(min=-1e300)  # where all of them overflow
        return largest + self._exponentiate(exponent.sub_(largest[:, None])).sum(1).log()


def _median(values: Float[Tensor, "examples latent"]) -> Float[Tensor, " latent"]:
    """`torch.median` has no deterministic version on a GPU, and `torch.quantile` refuses large populations."""
    return values.sort(0).values[len(values) // 2]


def _require_finite(name: str, values: Float[Tensor, "*shape"]) -> None:
    bad = ~values.isfinite()
    if bool(bad.any()):
        raise ValueError(
            f"{name} holds {int(bad.sum())} numbers of {values.numel()} that are not finite: the model has "
            "diverged, so its information measures are missing."
        )
