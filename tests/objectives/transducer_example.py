import torch
from torch import nn

from asr.objectives.transducer import transducer_loss

torch.manual_seed(0)
features, frames = torch.randn(4, 20, 8), torch.tensor([20, 14, 20, 9])
targets, lengths = torch.randint(1, 6, (4, 7)), torch.tensor([5, 7, 3, 6])
encoder = nn.LSTM(8, 48, batch_first=True)
embedding, prediction = nn.Embedding(6, 12), nn.LSTM(12, 48, batch_first=True)
joint = nn.Sequential(nn.Tanh(), nn.Linear(48, 6))
modules = nn.ModuleList([encoder, embedding, prediction, joint])
optimizer = torch.optim.Adam(modules.parameters(), lr=0.01)
before = nn.functional.pad(targets, (1, 0))  # the tokens before each: the first has none, a 0
for _ in range(80):
    encoded, predicted = encoder(features)[0], prediction(embedding(before))[0]
    logits = joint(encoded[:, :, None] + predicted[:, None])  # (B, T, U + 1, V)
    loss = transducer_loss(logits, targets, frames, lengths).mean()
    print(f"{loss.item():.3f}")  # noqa: T201
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
