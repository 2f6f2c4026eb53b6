import torch
from torch import nn

from asr.objectives.expected_wer import expected_loss

torch.manual_seed(0)
names, texts = ["<blank>", " ", *"ABCDEF"], ["BAD CAFE", "A BED", "DEAD BEE", "FACE A CAB"]
targets = [torch.tensor([names.index(letter) for letter in text]) for text in texts]
features, lengths = torch.randn(4, 40, 16), torch.tensor([40, 32, 40, 36])
lstm, linear = nn.LSTM(16, 32, batch_first=True, bidirectional=True), nn.Linear(64, len(names))
optimizer = torch.optim.Adam([*lstm.parameters(), *linear.parameters()], lr=0.01)
history = []
for step in range(120):
    log_probs = linear(lstm(features)[0]).log_softmax(dim=-1)
    if step < 60:  # first CTC: from random weights no single label changes the errors
        time_first, sizes = log_probs.transpose(0, 1), [len(target) for target in targets]
        loss = nn.functional.ctc_loss(time_first, torch.cat(targets), lengths, torch.tensor(sizes))
    else:  # then what one is judged by: the mean word error rate of what the model may write
        loss = expected_loss(log_probs, lengths, texts, labels=names).mean()
        history.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
