"""How VAEs are trained elsewhere, on the same model, data and batch: a conventional loop, and pythae's trainer.

Each gives a function that trains for a number of steps, and the model it trains.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.objective import lagrangian
from rdstudy.models.priors.standard_normal import StandardNormal
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE

BATCH, LEARNING_RATE, LATENT = 128, 1e-3, 10
Train = Callable[[int], None]


def fresh(images: Tensor, depth: int, width: int, seed: int) -> VAE:
    """A model at its start."""
    shape = ModelShape(images.shape[1], depth, width, LATENT)
    return VAE(shape, initial_parameters(shape, f"seed {seed}", torch.float32))


class _Images(Dataset):
    """Images one by one, as a DataLoader asks for them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Tensor:
        return self.images[i].float().div(255)


def conventional(
    images: Tensor, depth: int, width: int, seed: int = 0, *, beta: float = 1.0, device: str = "cpu"
) -> tuple[Train, VAE]:
    """What most public code does: a DataLoader over single images with a transform, a module, autograd, Adam."""
    torch.manual_seed(seed)
    model = fresh(images, depth, width, seed).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(_Images(images), batch_size=BATCH, shuffle=True, drop_last=True)

    def train(steps: int) -> None:
        done = 0
        while done < steps:
            for batch in loader:
                x = batch.to(device)
                posterior = model.encode(x)
                latent = posterior.sample(torch.randn_like(posterior.mean))
                loss = lagrangian(
                    Bernoulli().distortion(model.decode(latent), x), StandardNormal().rate(posterior), beta
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                if done == steps:
                    return

    return train, model


def in_pythae(vae: VAE) -> nn.Module:
    """A model of pythae (Chadebec et al. 2022) over the same parameters."""
    from pythae.models import VAE as TheirVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, x: Tensor) -> ModelOutput:
            mean, log_std = self.vae.encode(x.flatten(1))
            return ModelOutput(embedding=mean, log_covariance=2 * log_std)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.vae.decode(z).sigmoid())

    config = VAEConfig(input_dim=(vae.shape.pixels,), latent_dim=vae.shape.latent_dim, reconstruction_loss="bce")
    model: nn.Module = TheirVAE(model_config=config, encoder=Encoder(), decoder=Decoder())
    return model


def pythae(images: Tensor, depth: int, width: int, seed: int = 0, *, device: str = "cpu") -> tuple[Train, VAE]:
    """pythae's own trainer, without its progress bar; whole epochs, so some steps more than asked for."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.CRITICAL)
    model = fresh(images, depth, width, seed)
    whole = len(images) // BATCH * BATCH
    data = BaseDataset(images[:whole].float().div(255), torch.zeros(whole))
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(prefix="pythae-"),
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        optimizer_cls="Adam",
        no_cuda=device == "cpu",
        seed=seed,
    )
    trainer = BaseTrainer(model=in_pythae(model), train_dataset=data, training_config=config, callbacks=[])
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []
    epochs = iter(range(1, 10**9))

    def train(steps: int) -> None:
        for _ in range(-(-steps // (whole // BATCH))):
            trainer.train_step(next(epochs))

    return train, model
