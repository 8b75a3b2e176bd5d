"""The networks by hand in PyTorch."""

import torch
import workload
from torch import nn
from torch.nn import functional

PAD, START = 0, 1


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return functional.relu(x + self.second(functional.relu(self.first(x))))


def _conv(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, padding=1), nn.ReLU()]


def conv_encoder(outputs: int) -> nn.Sequential:
    body = [*_conv(1, 32, 2), Residual(32), *_conv(32, 64, 2), Residual(64), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(3136, 256), nn.ReLU(), nn.Linear(256, outputs))


def conv_decoder(k: int) -> nn.Sequential:
    body = [nn.Linear(k, 256), nn.ReLU(), nn.Linear(256, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))]
    for channels in (64, 32):
        narrower = channels // 2
        body += [Residual(channels), *_conv(channels, narrower), nn.Upsample(scale_factor=2), *_conv(narrower, narrower)]
    return nn.Sequential(*body, nn.Conv2d(16, 1, 3, padding=1))


def dense_layers(first: int, last: int) -> nn.Sequential:
    """Layers number `first` up to `last` of the dense network."""
    pairs = list(zip(workload.WIDTHS, workload.WIDTHS[1:], strict=False))[first:last]
    body = []
    for number, (before, after) in enumerate(pairs, first):
        body += [nn.Linear(before, after), *([nn.GELU()] if number in workload.BENDS else [])]
    return nn.Sequential(*body)


class Autoencoder(nn.Module):
    """Of the dense or the convolutional network; called on x, it returns the loss."""

    def __init__(self, network: str):
        super().__init__()
        self.network = network
        if network == "dense":
            self.encoder, self.decoder = nn.Sequential(nn.Flatten(), dense_layers(0, 3)), dense_layers(3, 6)
        else:
            k = workload.CODES[network]
            self.encoder, self.decoder = conv_encoder(2 * k if network == "vae" else k), conv_decoder(k)

    def forward(self, x):
        if self.network == "vae":
            x = (torch.rand_like(x) < x).float()
            mean, log_variance = self.encoder(x).float().chunk(2, -1)
            logits = self.decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)).float().flatten(1)
            cost = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
            return (functional.softplus(logits) - x.flatten(1) * logits).sum(-1).add(cost).mean()
        found = torch.sigmoid(self.decoder(self.encoder(x)).float().flatten(1))
        return (found - x.flatten(1)).square().sum(-1).mean()


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.output = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.key_value = nn.Linear(width, 2 * width, bias=False)

    def forward(self, x, source, mask=None, causal=False):
        query, key, value = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each in (self.query(x), *self.key_value(source).chunk(2, -1))
        )
        query, key = rotated(query), rotated(key)
        heads = functional.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
        return self.output(heads.transpose(1, 2).flatten(2))


def rotated(x):
    """Pairs of numbers of x `(…, T, size)`, rotated by angles that grow with their position."""
    size = x.shape[-1]
    angles = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** -(torch.arange(0, size, 2) / size)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x.chunk(2, -1)
    return torch.cat([left * cosine - right * sine, left * sine + right * cosine], -1)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, dropout: float, cross: bool):
        super().__init__()
        self.attention, self.norm, self.norm_network = Attention(width, heads), nn.RMSNorm(width), nn.RMSNorm(width)
        self.network = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.drop, self.cross = nn.Dropout(dropout), cross
        if cross:
            self.attention_source, self.norm_source = Attention(width, heads), nn.RMSNorm(width)

    def forward(self, x, mask, source=None):
        normed = self.norm(x)
        if self.cross:
            x = x + self.drop(self.attention(normed, normed, causal=True))
            x = x + self.drop(self.attention_source(self.norm_source(x), source, mask))
        else:
            x = x + self.drop(self.attention(normed, normed, mask))
        return x + self.drop(self.network(self.norm_network(x)))


class Transformer(nn.Module):
    """Called on tokens `(B, S)` and `(B, T)`, it returns the loss."""

    def __init__(self, sources: int, targets: int):
        super().__init__()
        width, depth, decoders, heads, hidden, dropout = workload.BODY
        self.width, self.targets = width, targets
        self.source, self.target = nn.Embedding(sources, width), nn.Embedding(targets, width)
        self.encoder = nn.ModuleList(Block(width, heads, hidden, dropout, False) for _ in range(depth))
        self.decoder = nn.ModuleList(Block(width, heads, hidden, dropout, True) for _ in range(decoders))
        self.norm_encoder, self.norm_decoder, self.drop = nn.RMSNorm(width), nn.RMSNorm(width), nn.Dropout(dropout)

    def forward(self, source, target):
        mask, shifted = (source != PAD)[:, None, None], functional.pad(target[:, :-1], (1, 0), value=START)
        states = self.drop(self.source(source) * self.width**0.5)
        for block in self.encoder:
            states = block(states, mask)
        states, x = self.norm_encoder(states), self.drop(self.target(shifted) * self.width**0.5)
        for block in self.decoder:
            x = block(x, mask, states)
        logits = (self.norm_decoder(x) @ self.target.weight.T).float()
        settings = {"reduction": "sum", "ignore_index": PAD, "label_smoothing": 0.1}
        return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), **settings) / len(source)
