import numpy as np
import pytest
import torch

from rdstudy.models.priors.flow import Flow
from rdstudy.models.priors.standard_normal import StandardNormal
from tests.models.test_contracts import tensor


def values(flow: Flow, latent: int, models: int = 1, scale: float = 0.3) -> dict[str, torch.Tensor]:
    return {each.name: scale * tensor(models, *each.shape, seed=k) for k, each in enumerate(flow.parameters(latent))}


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_it_begins_as_the_standard_normal(latent):
    flow = Flow(4)
    p = values(flow, latent, models=2)
    p |= {each.name: torch.zeros_like(p[each.name]) for each in flow.parameters(latent) if each.bound == 0}
    z = tensor(2, 7, latent)
    torch.testing.assert_close(flow.log_density(z, p), StandardNormal().log_density(z))


def test_its_density_in_two_dimensions_integrates_to_one_and_is_no_gaussians():
    flow = Flow(4)
    p = values(flow, 2)
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).view(1, -1, 2)
    density = flow.log_density(grid, p).exp().view(601, 601)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=1e-3)
    draws = flow.sample(np.random.default_rng(0), 50_000, 2, p)[0].double()
    score = (draws - draws.mean(0)) / draws.std(0)
    assert (score**4).mean().item() > 4  # 3 for a Gaussian: heavier tails
    inside = (grid[0].view(601, 601, 2) <= draws.mean(0)).all(-1)
    share = torch.trapezoid(torch.trapezoid(density * inside, line), line).item()
    assert (draws <= draws.mean(0)).all(-1).double().mean().item() == pytest.approx(share, abs=0.02)


def test_axes_of_draws_may_be_many():
    flow, z = Flow(3), tensor(2, 3, 4, 5)
    p = values(flow, 5, models=2)
    flat = flow.log_density(z.view(2, 12, 5), p)
    torch.testing.assert_close(flow.log_density(z, p), flat.view(2, 3, 4))


@pytest.mark.parametrize("couplings", [0, 1.5])
def test_couplings_are_a_whole_number_above_zero(couplings):
    with pytest.raises(ValueError, match="whole number above 0"):
        Flow(couplings)
