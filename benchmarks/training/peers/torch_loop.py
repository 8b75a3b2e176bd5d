"""The same network in a training loop by hand in PyTorch, on tensors in memory, with its fused AdamW."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import numpy as np
import torch
import torch_networks
import workload


def main() -> None:
    work, random = workload.given(), np.random.default_rng(0)
    if work.network == "transformer":
        columns = [torch.from_numpy(work.array(side)).long() for side in ("source", "target")]
        lengths = [(column != 0).sum(1).numpy() for column in columns]
        model = torch_networks.Transformer(*(int(column.max()) + 1 for column in columns))
    else:
        columns, model = [torch.from_numpy(work.array()).movedim(-1, 1).contiguous()], torch_networks.Autoencoder(work.network)
        if work.network != "dense":
            model, columns = model.to(memory_format=torch.channels_last), [columns[0].to(memory_format=torch.channels_last)]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0, fused=True)
    clock = None
    for _ in range(work.epochs):
        if work.network == "transformer":
            rows = workload.pooled(random, tuple(lengths[::-1]), work.batch_size)
        else:
            rows = workload.batches(random, len(columns[0]), work.batch_size)
        clock = clock or workload.Clock(rows.size)
        for batch in rows:
            taken = [column[torch.from_numpy(batch)] for column in columns]
            if work.network == "transformer":
                taken = [tokens[:, : int(length[batch].max())] for tokens, length in zip(taken, lengths, strict=True)]
            with torch.autocast("cpu", torch.bfloat16, enabled=work.precision == "bfloat16"):
                loss = model(*taken)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clock.tick()
    clock.print()


main()
