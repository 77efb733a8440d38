"""The transformer against torch's own layers with the same weights, its masks, and its members."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wdlab.models import Transformer, flatten
from wdlab.models.transformer import END, PAD, START, attention, positions
from wdlab.tasks import generator

MEMBERS, BATCH, WORDS, WIDTH, HEADS = 3, 5, (9, 11), 8, 4
LENGTHS = (7, 6)  # of source and target
depths = pytest.mark.parametrize("depth", [1, 2])


class Reference(nn.Module):
    """One member as anyone would write it with torch.nn.Transformer."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(WORDS[0], WIDTH), nn.Embedding(WORDS[1], WIDTH)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about nested tensors, which need post-norm
            self.layers = nn.Transformer(
                WIDTH, HEADS, depth, depth, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
            )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        before = torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], 1)
        x, y = (self.embed(*pair) for pair in ((self.source, source), (self.target, before)))
        length = before.shape[1]
        future = torch.full((length, length), -math.inf, dtype=x.dtype).triu(1)
        pad = torch.zeros(source.shape, dtype=x.dtype).masked_fill(source == PAD, -math.inf)
        y = self.layers(x, y, tgt_mask=future, src_key_padding_mask=pad, memory_key_padding_mask=pad)
        return y @ self.target.weight.T

    def embed(self, table: nn.Embedding, tokens: Tensor) -> Tensor:
        x = table(tokens) * math.sqrt(WIDTH)
        for position in range(tokens.shape[1]):
            for pair in range(WIDTH // 2):
                angle = position / 10_000 ** (2 * pair / WIDTH)
                x[:, position, pair] += math.sin(angle)
                x[:, position, WIDTH // 2 + pair] += math.cos(angle)
        return x

    def told(self, of=lambda p: p) -> dict[str, Tensor]:
        """Every parameter, or its gradient, under our name."""
        layers = self.layers
        told = {"embed_source": of(self.source.weight), "embed_target": of(self.target.weight)}
        for side, stack in (("encoder", layers.encoder), ("decoder", layers.decoder)):
            for number, layer in enumerate(stack.layers):
                norms = [layer.norm1, layer.norm2, *([layer.norm3] if side == "decoder" else [])]
                kinds = ["self", *(["cross"] if side == "decoder" else []), "feed"]
                for kind, norm in zip(kinds, norms, strict=True):
                    told |= self.norm(f"{side}{number}_{kind}", norm, of)
                own = layer.self_attn
                linears = {
                    "self_in": (own.in_proj_weight, own.in_proj_bias),
                    "self_out": (own.out_proj.weight, own.out_proj.bias),
                    "feed_in": (layer.linear1.weight, layer.linear1.bias),
                    "feed_out": (layer.linear2.weight, layer.linear2.bias),
                }
                for kind, pair in linears.items():
                    told |= self.linear(f"{side}{number}_{kind}", *pair, of)
        told |= self.norm("memory", layers.encoder.norm, of) | self.norm("output", layers.decoder.norm, of)
        memory: dict[str, list[Tensor]] = {"weight_memory": [], "bias_memory": []}
        for number, layer in enumerate(layers.decoder.layers):
            cross = layer.multihead_attn
            weight, bias = of(cross.in_proj_weight).T, of(cross.in_proj_bias)
            told[f"weight_decoder{number}_cross_in"], told[f"bias_decoder{number}_cross_in"] = (
                weight[:, :WIDTH],
                bias[:WIDTH],
            )
            memory["weight_memory"].append(weight[:, WIDTH:])
            memory["bias_memory"].append(bias[WIDTH:])
            told |= self.linear(f"decoder{number}_cross_out", cross.out_proj.weight, cross.out_proj.bias, of)
        return told | {name: torch.cat(parts, -1) for name, parts in memory.items()}

    def norm(self, name: str, layer: nn.LayerNorm, of) -> dict[str, Tensor]:
        return {f"scale_{name}": of(layer.weight), f"shift_{name}": of(layer.bias)}

    def linear(self, name: str, weight: Tensor, bias: Tensor, of) -> dict[str, Tensor]:
        return {f"weight_{name}": of(weight).T, f"bias_{name}": of(bias)}


def make(depth: int, members: int = MEMBERS) -> Transformer:
    """A model whose parameters, biases and normalizations too, are all random."""
    model = Transformer(members, WORDS, WIDTH, depth).double()
    model.initialize([generator(seed, "init") for seed in range(members)])
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            drawn = [torch.randn(parameter.shape[1:], generator=generator(m, f"{number}")) for m in range(members)]
            parameter += 0.2 * torch.stack(drawn)
    flatten(model, [name for name, _ in model.named_parameters()])
    return model


def references(model: Transformer) -> list[Reference]:
    nets = [Reference(model.depth).double() for _ in range(model.members)]
    own = dict(model.named_parameters())
    for member, net in enumerate(nets):
        asked = {name: tensor[member] for name, tensor in own.items()}
        assert net.told().keys() == asked.keys()
        fill(net, asked)
        for name, tensor in net.told().items():
            assert torch.equal(tensor, asked[name]), name
    return nets


def fill(net: Reference, asked: dict[str, Tensor]) -> None:
    """Put our parameters into the network; those of cross attention lie in two places of ours."""
    with torch.no_grad():
        for name, tensor in net.told().items():
            if name not in ("weight_memory", "bias_memory") and "cross_in" not in name:
                tensor.copy_(asked[name])
        for number, layer in enumerate(net.layers.decoder.layers):
            part = slice(2 * number * WIDTH, 2 * (number + 1) * WIDTH)
            cross = layer.multihead_attn
            for kind, whole in (("weight", cross.in_proj_weight), ("bias", cross.in_proj_bias)):
                first, rest = asked[f"{kind}_decoder{number}_cross_in"], asked[f"{kind}_memory"][..., part]
                joined = torch.cat([first, rest], -1)
                whole.copy_(joined.T if kind == "weight" else joined)


def sentences(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random sentences of different lengths, each ended by END and filled up with PAD."""
    draw = generator(seed, "sentences")
    found = []
    for words, longest in zip(WORDS, LENGTHS, strict=True):
        tokens = torch.randint(3, words, (MEMBERS, BATCH, longest), generator=draw)
        last = torch.randint(0, longest, (MEMBERS, BATCH, 1), generator=draw)
        last[:, 0] = longest - 1  # one that fills its row
        places = torch.arange(longest)
        found.append(tokens.masked_fill(places == last, END).masked_fill(places > last, PAD))
    return found[0], found[1]


@depths
def test_forward_is_torch_s(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    logits = model(source, target)
    for member, net in enumerate(references(model)):
        real, its = target[member] != PAD, net(source[member], target[member])
        torch.testing.assert_close(logits[member][real], its[real], rtol=1e-10, atol=1e-12)


@depths
def test_loss_and_gradient_are_torch_s(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    nets = references(model)
    loss = model.loss_and_gradient(source, target)
    for member, net in enumerate(nets):
        its = F.cross_entropy(
            net(source[member], target[member]).flatten(0, 1), target[member].flatten(), ignore_index=PAD
        )
        its.backward()
        torch.testing.assert_close(loss[member], its.detach(), rtol=1e-12, atol=0)
        for name, gradient in net.told(lambda p: p.grad).items():
            mine = model.get_parameter(name).grad[member]
            torch.testing.assert_close(mine, gradient, rtol=1e-8, atol=1e-13, msg=name)


def test_the_last_position_alone_is_the_last_of_all() -> None:
    model, (source, target) = make(2), sentences()
    memory = model.encode(source)
    every, last = model.decode(target, *memory), model.decode(target, *memory, last=True)
    torch.testing.assert_close(last, every[:, :, -1:], rtol=1e-11, atol=1e-13)


def test_attention_is_torch_s() -> None:
    draw = generator(0, "attention")
    q, k, v = (torch.randn(6, n, 4, generator=draw, dtype=torch.float64) for n in (5, 7, 7))
    mask = torch.where(torch.rand(6, 7, 1, generator=draw) < 0.3, -math.inf, 0.0).double()
    mask[:, 0] = 0.0
    its = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.mT)
    torch.testing.assert_close(attention(q, k, v, mask), its, rtol=1e-12, atol=1e-14)


def test_positions_are_told_apart() -> None:
    found = positions(50, 16, torch.float32, torch.device("cpu"))
    assert torch.linalg.vector_norm(found[:, None] - found, dim=-1).add(torch.eye(50)).min() > 0.1


@depths
def test_no_word_sees_what_comes_after_it(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    before = model(source, target)
    for position in range(LENGTHS[1]):
        changed = target.clone()
        changed[..., position:] = (changed[..., position:] + 1) % WORDS[1]
        after = model(source, changed)
        assert torch.equal(after[:, :, : position + 1], before[:, :, : position + 1])
        if position + 1 < LENGTHS[1]:  # and every word sees all that came before it
            assert (after != before).any(-1)[:, :, position + 1 :].all()


@depths
def test_nobody_sees_what_a_sentence_is_filled_up_with(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    before, real = model(source, target), target != PAD
    with torch.no_grad():
        model.embed_source[:, PAD] += 3.0
        logits = model(source, target)
        assert torch.equal(logits[real], before[real])
        model.embed_source[:, END] += 3.0  # the control: a token that is there
    assert (model(source, target)[real] != before[real]).any()


@depths
def test_padding_changes_neither_loss_nor_gradient(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    loss = model.loss_and_gradient(source, target)
    gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
    wider = model.loss_and_gradient(F.pad(source, (0, 4)), F.pad(target, (0, 3)))
    torch.testing.assert_close(wider, loss, rtol=1e-12, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradient[name], rtol=1e-9, atol=1e-14, msg=name)
    assert (gradient["embed_source"][:, PAD] == 0).all()


def in_rows(sentences_of: Tensor) -> Tensor:
    """All sentences of each member in one row, then PAD: [member, 1, token]."""
    each = [torch.cat([sentence[sentence != PAD] for sentence in member]) for member in sentences_of]
    return nn.utils.rnn.pad_sequence(each, batch_first=True, padding_value=PAD).unsqueeze(1)


@depths
def test_sentences_that_share_a_row_do_not_see_each_other(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    logits, (source_row, target_row) = model(source, target), (in_rows(source), in_rows(target))
    shared = model(source_row, target_row)
    for member in range(MEMBERS):
        alone = logits[member][target[member] != PAD]
        together = shared[member][target_row[member] != PAD]
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


@depths
def test_packed_sentences_have_the_same_loss_and_gradient(depth: int) -> None:
    model, (source, target) = make(depth), sentences()
    loss = model.loss_and_gradient(source, target)
    gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
    torch.testing.assert_close(model.loss_and_gradient(in_rows(source), in_rows(target)), loss, rtol=1e-12, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradient[name], rtol=1e-9, atol=1e-14, msg=name)


def test_a_batch_is_worth_its_sentences() -> None:
    """The loss of a batch is the mean over its words of what each sentence gives alone, unpadded."""
    model, (source, target) = make(2), sentences()
    loss, total = model.loss(source, target), torch.zeros(MEMBERS, dtype=torch.float64)
    for member in range(MEMBERS):
        model_alone = pick(model, member)
        for sentence in range(BATCH):
            s, t = (tokens[member, sentence] for tokens in (source, target))
            s, t = s[s != PAD].view(1, 1, -1), t[t != PAD].view(1, 1, -1)
            total[member] += (model_alone.loss(s, t) * t.numel()).detach()[0]
    torch.testing.assert_close(loss, total / (target != PAD).sum((1, 2)), rtol=1e-12, atol=0)


def test_a_sentence_of_nothing_changes_nothing() -> None:
    model, (source, target) = make(1), sentences()
    loss = model.loss_and_gradient(source, target)
    gradient = model.embed_target.grad.clone()
    empty = model.loss_and_gradient(*(F.pad(tokens, (0, 0, 0, 1)) for tokens in (source, target)))
    torch.testing.assert_close(empty, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(model.embed_target.grad, gradient, rtol=1e-9, atol=1e-14)


def pick(model: Transformer, member: int) -> Transformer:
    """One member as a model of its own."""
    network = {name: tensor[member] for name, tensor in model.state_dict().items()}
    alone = Transformer.of([network]).double()
    alone.load_state_dict({name: tensor.unsqueeze(0) for name, tensor in network.items()})
    flatten(alone, [name for name, _ in alone.named_parameters()])
    return alone


@depths
def test_a_member_among_others_equals_itself_alone(depth: int) -> None:
    together, (source, target) = make(depth), sentences()
    loss = together.loss_and_gradient(source, target)
    logits = together(source, target)
    for member in range(MEMBERS):
        alone, one = pick(together, member), slice(member, member + 1)
        assert alone.depth == depth
        torch.testing.assert_close(alone.loss_and_gradient(source[one], target[one]), loss[one], rtol=1e-12, atol=0)
        torch.testing.assert_close(alone(source[one], target[one]), logits[one], rtol=1e-11, atol=1e-13)
        for name, parameter in alone.named_parameters():
            its = together.get_parameter(name).grad[one]
            torch.testing.assert_close(parameter.grad, its, rtol=1e-9, atol=1e-14, msg=name)


def test_weights_begin_as_said_and_each_member_with_its_own() -> None:
    model = Transformer(2, (40, 50), 64, 2)
    model.initialize([generator(seed, "init") for seed in range(2)])
    alone = Transformer(1, (40, 50), 64, 2)
    alone.initialize([generator(1, "init")])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter[1:], alone.get_parameter(name)), name
        if name.startswith("weight"):
            bound = 1 / math.sqrt(parameter.shape[1])
            assert 0.95 * bound < parameter.abs().max() <= bound and not torch.equal(parameter[0], parameter[1])
    for table, unread in ((model.embed_source, [PAD, START]), (model.embed_target, [PAD])):
        assert (table[:, unread] == 0).all() and (table[:, END:] != 0).any(-1).all()
        assert table[:, len(unread) :].std().item() == pytest.approx(1 / 8, rel=0.05)
    assert all((p == 0).all() for name, p in model.named_parameters() if name.startswith(("bias", "shift")))
    assert all((p == 1).all() for name, p in model.named_parameters() if name.startswith("scale"))
