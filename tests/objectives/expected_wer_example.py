import torch
from torch import nn

from asr.objectives.expected_wer import expected_loss

torch.manual_seed(0)
names, texts = ["<blank>", " ", *"ABCDEF"], ["BAD CAFE", "A BED", "DEAD BEE", "FACE A CAB"]
features, lengths = torch.randn(4, 40, 16), torch.tensor([40, 32, 40, 36])
targets = torch.tensor([names.index(letter) for text in texts for letter in text])
sizes = torch.tensor([len(text) for text in texts])
lstm, linear = nn.LSTM(16, 32, batch_first=True, bidirectional=True), nn.Linear(64, len(names))
optimizer = torch.optim.Adam([*lstm.parameters(), *linear.parameters()], lr=0.01)
for step in range(120):
    log_probs = linear(lstm(features)[0]).log_softmax(dim=-1)
    if step < 60:  # CTC first: from random weights no single label changes the errors
        loss = nn.functional.ctc_loss(log_probs.transpose(0, 1), targets, lengths, sizes)
    else:  # then the word error rate itself, expected of what the model may write
        loss = expected_loss(log_probs, lengths, texts, labels=names).mean()
        print(f"{loss.item():.3f}")  # noqa: T201
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
