import pytest
import torch
from torch.distributions import Normal, kl_divergence

from rdstudy.models.objective import Posterior
from rdstudy.models.priors.mixture import Mixture
from rdstudy.storage.paths import storage_path
from rdstudy.storage.table import load_measurements


def test_one_component_has_a_learned_gaussians_kl_in_expectation():
    generator, n = torch.Generator().manual_seed(0), 40_000
    q = Posterior(torch.tensor([[[0.5, -1.0]]]).double(), torch.tensor([[[-0.3, 0.2]]]).double())
    p = {"mean": torch.tensor([[[0.1, 0.4]]]), "log_std": torch.tensor([[[0.3, -0.2]]]), "logits": torch.zeros(1, 1)}
    p = {name: value.double() for name, value in p.items()}
    many = Posterior(*(each.expand(1, n, 2) for each in q))
    rates = Mixture(1).rate(many, many.sample(torch.randn(1, n, 2, generator=generator, dtype=torch.float64)), p)
    prior = Normal(p["mean"][:, 0], p["log_std"][:, 0].exp())
    expected = kl_divergence(Normal(q.mean[0], q.log_std[0].exp()), prior).sum()
    assert abs(rates.mean() - expected) < 4 * rates.std() / n**0.5


@pytest.mark.parametrize("components", [0, 1.5])
def test_components_are_a_whole_number_above_zero(components):
    with pytest.raises(ValueError, match="whole number above 0"):
        Mixture(components)


def test_a_study_searches_the_best_beta_of_two_priors(command, study_file, tmp_path):
    text = study_file.read_text().replace("  beta: [1, 0.1]\n", "  prior: [standard_normal, mixture(3)]\n")
    text += "search: {goal: best_beta, beta: {low: 0.1, high: 2}, batch: 4, stop_when: {cells: 4}}\n"
    study_file.write_text(text)
    ended = command("run", study_file, "--no-ray", "--results", "out")
    assert ended.code == 0, ended.err
    table = load_measurements(storage_path(tmp_path / "out"))
    assert set(table["prior"]) == {"standard_normal", "mixture(3)"}
    final = table[table["is_final"]]
    assert (final["status"] == "ok").all()
    assert final[["rate_nats", "mi_nats", "marginal_kl_nats", "marginal_kl_se", "nll_nats"]].notna().all(axis=None)
    assert command("report", "out").code == 0
