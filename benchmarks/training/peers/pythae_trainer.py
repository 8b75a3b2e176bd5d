"""The same network in pythae's trainer."""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import torch
import torch_networks
import workload
from pythae.data.datasets import BaseDataset
from pythae.models import AE, VAE, AEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback


class Encoder(BaseEncoder):
    def __init__(self, body, drawn: bool):
        super().__init__()
        self.body, self.drawn = body, drawn

    def forward(self, x):
        if not self.drawn:
            return ModelOutput(embedding=self.body(x).float())
        mean, log_variance = self.body(x).float().chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.body(z).float()).reshape(-1, 1, 28, 28))


class Timed(TrainingCallback):
    def __init__(self, clock: workload.Clock):
        self.clock = clock

    def on_epoch_end(self, training_config, **kwargs) -> None:
        self.clock.tick()


def main() -> None:
    work = workload.given()
    x = torch.from_numpy(work.array()).movedim(-1, 1).contiguous()
    parts, drawn = torch_networks.Autoencoder(work.network), work.network == "vae"
    settings = {"input_dim": (1, 28, 28), "latent_dim": workload.CODES.get(work.network, workload.WIDTHS[3])}
    both = (Encoder(parts.encoder, drawn), Decoder(parts.decoder))
    model = VAE(VAEConfig(**settings, reconstruction_loss="bce"), *both) if drawn else AE(AEConfig(**settings), *both)
    clock = workload.Clock(len(x))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=work.epochs,
            per_device_train_batch_size=work.batch_size,
            learning_rate=1e-3,
            optimizer_cls="AdamW",
            optimizer_params={"weight_decay": 0.0},
            no_cuda=True,
        )
        trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), None, config, [Timed(clock)])
        if work.precision == "bfloat16":
            trainer.amp_context = torch.autocast("cpu", torch.bfloat16)
        trainer.train()
    clock.print()


main()
