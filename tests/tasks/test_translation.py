"""Translation as a task: its data, what it measures, decoding, and members over couplings, lr and lambda."""

from dataclasses import replace

import pytest
import sacrebleu
import torch
import torch.nn.functional as F
from torch import Tensor

from wdlab import COUPLINGS, TASKS, Decay, Match, Model, Optimizer, Run, Schedule, Training, sweep
from wdlab.data.number_words import END, ENGLISH, FEW, GERMAN, PAD, START
from wdlab.models import Transformer, flatten
from wdlab.store import Store
from wdlab.sweeps import settings
from wdlab.tasks import TRANSLATIONS, Translation, generator
from wdlab.tasks.decoding import greedy
from wdlab.tasks.translation import ROW, answers, bleu, corpus_bleu, pack, translate

TASK = Translation("tiny", train_size=40, test_size=30, batch_size=10, epochs=2)
ADAM = Optimizer("adam", 0.01, betas=(0.9, 0.98))
RUN = Run(TASK, Model("transformer", 32, 1), ADAM, Schedule("cosine", warmup=0.2), Decay(0.1), steps=8, evaluations=2)


@pytest.fixture(scope="module")
def learned() -> Training:
    """Three nets: one has learned next to nothing, the others ten pairs by heart."""
    base = replace(RUN, task=replace(TASK, train_size=10), decay=Decay(), steps=150, evaluations=1)
    training = Training(
        [replace(base, optimizer=replace(ADAM, lr=lr)) for lr in (0.0003, 0.01, 0.02)], "cpu", threads=1
    )
    training.advance(150)
    return training


def some_pairs(training: Training) -> tuple[Tensor, Tensor]:
    """The ten pairs that were learned, and twenty others."""
    chosen = torch.cat([training.batches.sets[0], torch.arange(20)])
    return training.inputs[chosen], training.labels[chosen]


def networks(training: Training) -> list[dict[str, Tensor]]:
    return [history.network for history in training.histories(networks=True)]


# --- data ---------------------------------------------------------------------------------------------------


def test_the_named_task_is_what_the_course_trains() -> None:
    run = Run("translation", Model("transformer", 64, 2), ADAM)
    assert run.task is TRANSLATIONS["translation"] and run.task.train_size == 300 and run.steps == 300
    assert settings(run)["task"] == "translation" and settings(run)["train_size"] == 300


def test_test_pairs_are_the_same_for_every_seed_and_never_trained_on() -> None:
    pairs = TASK.arrays()
    batches = TASK.batches([0, 1], len(pairs))
    tested = {tuple(row) for row in pairs.inputs[: TASK.test_size].tolist()}
    trained = [{tuple(row) for row in pairs.inputs[chosen].tolist()} for chosen in batches.sets]
    assert all(len(part) == TASK.train_size and not part & tested for part in trained)
    assert trained[0] != trained[1]
    words = {GERMAN.spell(number) for number in range(1, FEW)}
    assert not words & {GERMAN.decode(row) for row in tested}


def unpacked(rows: Tensor) -> list[list[int]]:
    """The sentences of packed rows, END included, each read up to its END."""
    found: list[list[int]] = []
    for row in rows.tolist():
        sentence: list[int] = []
        for token in row:
            sentence.append(token)
            if token == END:
                found.append(sentence)
                sentence = []
        assert not any(sentence)  # what is left is PAD
    return found


def test_a_batch_is_pairs_of_the_seed_and_a_pass_is_all_of_them() -> None:
    pairs = TASK.arrays()
    batches = TASK.batches([5, 6], len(pairs))
    labels, seen = batches.labels(pairs.labels), []
    answers_to = {
        tuple(unpacked(s.unsqueeze(0))[0]): unpacked(t.unsqueeze(0))[0]
        for s, t in zip(pairs.inputs, pairs.labels, strict=True)
    }
    for step in range(4):
        source, target = batches.take(step, pairs.inputs, labels)
        assert source.shape == target.shape == (2, source.shape[1], ROW)
        asked = pairs.inputs[batches.indices(step)[1]]
        given, said = unpacked(source[1]), unpacked(target[1])
        assert sorted(given) == sorted(unpacked(asked)) and len(given) == TASK.batch_size
        for one, sentence in zip(given, said, strict=True):
            assert answers_to[tuple(one)] == sentence
        seen += given
    assert len(set(map(tuple, seen))) == len(seen) == TASK.train_size


def test_a_packed_batch_is_shorter_and_trains_as_one_sentence_a_row() -> None:
    task = TRANSLATIONS["translation"]
    pairs = task.arrays()
    batches = task.batches([7], len(pairs))
    packed = batches.take(0, pairs.inputs, batches.labels(pairs.labels))
    plain = [tokens[batches.indices(0)] for tokens in (pairs.inputs, pairs.labels)]
    assert packed[0].numel() < 0.85 * plain[0].numel()
    model = task.build(Model("transformer", 16, 2), 1).double()
    model.initialize([generator(7, "init")])
    flatten(model, [name for name, _ in model.named_parameters()])
    loss = model.loss_and_gradient(*plain)
    gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
    torch.testing.assert_close(model.loss_and_gradient(*packed), loss, rtol=1e-12, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradient[name], rtol=1e-9, atol=1e-14, msg=name)


def test_packing_loses_no_sentence_and_overfills_no_row() -> None:
    draw = generator(0, "packing")
    sizes = torch.randint(1, 9, (40, 2), generator=draw).tolist()
    pairs = [([10 * number] * s, [10 * number + 1] * t) for number, (s, t) in enumerate(sizes)]
    rows = pack(pairs, 8)
    assert all(len(side) <= 8 for row in rows for side in row)
    for side in range(2):
        assert sorted(token for row in rows for token in row[side]) == sorted(t for pair in pairs for t in pair[side])
    for source, target in rows:  # the same sentences in the same order
        assert list(dict.fromkeys(t // 10 for t in source)) == list(dict.fromkeys(t // 10 for t in target))
    assert len(pack([([1] * 4, [2] * 4)] * 6, 8)) == 3 and len(pack([([1] * 5, [2])] * 6, 8)) == 6


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Run("translation"), r"^model='mlp' is not allowed with task='translation'; use 'transformer'\.$"),
        (
            lambda: Run(TASKS["mnist1d"], Model("transformer", 64)),
            r"^model='transformer' is not allowed with task='mnist1d'; use 'mlp' or 'resnet'\.$",
        ),
        (lambda: Model("transformer", norm=False), r"^norm=False is not allowed with model='transformer'"),
        (lambda: replace(RUN, match=Match("start")), r"^match needs weights that feed a normalization"),
        (lambda: Translation(train_size=5), r"^batch_size=50 is not allowed"),
        (lambda: Translation(train_size=10_000).arrays(), r"^train_size=10000 is not allowed; there are 3000 pairs"),
        (lambda: Model("transformer", 30), r"^width=30 is not allowed with model='transformer'"),
    ],
)
def test_what_is_not_allowed_is_named(make, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


# --- measures -----------------------------------------------------------------------------------------------


def alone(training: Training, member: int) -> Transformer:
    return Transformer.of([training.network(member)])


def brute_force(model: Transformer, source: list[int], longest: int) -> list[int]:
    """One word at a time for one sentence of one net, without padding and without what was kept from the last word."""
    found: list[int] = []
    tokens = torch.tensor([[[token for token in source if token != PAD]]])
    while len(found) < longest and END not in found:
        target = torch.tensor([[[*found, START]]])  # its last word is never read
        with torch.no_grad():
            words = model(tokens, target)[0, 0, -1]
        words[[PAD, START]] = -torch.inf  # no answer holds them
        found.append(int(words.argmax()))
    return found


def test_greedy_decoding_is_a_brute_force_loop(learned) -> None:
    source, _ = some_pairs(learned)
    found = greedy(learned.model, source.expand(3, *source.shape), 12)
    assert learned.model.training, "decoding leaves the model as it was"
    for member in range(3):
        model = alone(learned, member)
        for sentence, tokens in zip(source.tolist(), found[member].tolist(), strict=True):
            asked = brute_force(model, sentence, 12)
            assert tokens == [*asked, *[PAD] * (len(tokens) - len(asked))]


def test_the_error_counts_what_greedy_decoding_does_not_give_word_for_word(learned) -> None:
    source, target = some_pairs(learned)
    found = TASK.evaluate(learned.model, source, target)
    decoded = greedy(learned.model, source.expand(3, *source.shape), target.shape[1])
    right = (F.pad(decoded, (0, target.shape[1] - decoded.shape[-1])) == target).all(-1)
    assert torch.equal(found["test_error"], 1 - right.float().mean(1))
    assert 10 <= right[1].sum() < 30, "right on what was learned, and not on everything"


def test_the_loss_is_the_mean_over_all_words(learned) -> None:
    source, target = some_pairs(learned)
    for member in range(3):
        model, losses = alone(learned, member), []
        for s, t in zip(source, target, strict=True):
            s, t = s[s != PAD].view(1, 1, -1), t[t != PAD].view(1, 1, -1)
            losses.append(F.cross_entropy(model(s, t)[0, 0], t[0, 0], reduction="none"))
        expected = torch.cat(losses).mean().detach()
        torch.testing.assert_close(TASK.evaluate(learned.model, source, target)["test_loss"][member], expected)


def test_padding_and_company_change_neither_loss_nor_error_nor_bleu(learned) -> None:
    source, target = some_pairs(learned)
    before = TASK.evaluate(learned.model, source, target)
    turned = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    after = TASK.evaluate(learned.model, F.pad(source, (0, 5))[turned], F.pad(target, (0, 2))[turned])
    torch.testing.assert_close(after["test_loss"], before["test_loss"], rtol=1e-5, atol=0)
    assert torch.equal(after["test_error"], before["test_error"])
    nets = networks(learned)
    said = answers(nets, F.pad(source, (0, 5)))
    assert said == answers(nets, source)
    short = (source != PAD).sum(1) <= 9  # in company of their own size
    alike = source[short][:, :9]
    assert [[one for one, chosen in zip(member, short.tolist(), strict=True) if chosen] for member in said] == answers(
        nets, alike
    )


def test_bleu_is_sacrebleu_s_of_each_net_alone(learned) -> None:
    source, target = (tokens[: TASK.test_size] for tokens in (learned.inputs, learned.labels))
    references = [ENGLISH.decode(row) for row in target.tolist()]
    found = bleu(networks(learned), learned.task)
    for member, score in enumerate(found):
        model = alone(learned, member)
        said = [ENGLISH.decode(brute_force(model, sentence, 16)) for sentence in source.tolist()]
        assert score == sacrebleu.corpus_bleu(said, [references]).score
    assert found[0] < found[1] < 100


def test_bleu_of_perfect_and_of_wrong_output() -> None:
    spelled = [ENGLISH.spell(number) for number in range(900, 950)]
    assert corpus_bleu(spelled, spelled) == pytest.approx(100, abs=1e-9)
    assert corpus_bleu(["zero"] * 50, spelled) < 1


# --- translate ----------------------------------------------------------------------------------------------


def test_what_was_learned_by_heart_is_translated(learned) -> None:
    for source, target in zip(*(tokens[:10].tolist() for tokens in some_pairs(learned)), strict=True):
        german, english = GERMAN.decode(source), ENGLISH.decode(target)
        assert (
            translate(networks(learned)[1:], german)
            == [english] * 2
            == translate(networks(learned)[1:], german.upper())
        )


def test_every_net_gives_an_answer_of_its_own(learned) -> None:
    nets = networks(learned)
    said = translate(nets, "siebenundvierzig")
    assert said == [translate([net], "siebenundvierzig")[0] for net in nets] and len(set(said)) > 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("forty-seven", "is unknown"),
        ("ein" * 41, r"has 41 parts; give a number below a million, 40 at most"),
    ],
)
def test_what_cannot_be_translated_gets_a_message(learned, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        translate(networks(learned), text)


# --- members ------------------------------------------------------------------------------------------------


def grid() -> list[Run]:
    settings = [(0.01, 0.1, "decoupled", 0), (0.02, 0.1, "decoupled", 0), (0.01, 0.5, "decoupled", 0)]
    settings += [(0.01, 0.1, name, 0) for name in COUPLINGS if name != "decoupled"]
    settings += [(0.01, 0.1, "decoupled", 1)]
    return [
        replace(RUN, optimizer=replace(ADAM, lr=lr, eps=1e-4), decay=Decay(strength, coupling=name), seed=seed)
        for lr, strength, name, seed in settings
    ]


def test_members_differ_by_what_is_turned_and_each_equals_its_run_alone() -> None:
    together = Training(grid(), "cpu", torch.float64, threads=1)
    together.advance(8)
    for member, run in enumerate(grid()):
        solo = Training([run], "cpu", torch.float64, threads=1)
        solo.advance(8)
        torch.testing.assert_close(together.weights[member], solo.weights[0], rtol=1e-7, atol=1e-9)
        (one,), other = solo.histories(), together.histories()[member]
        for name, curve in one.curves.items():
            assert other.curves[name] == pytest.approx(curve, rel=1e-7, nan_ok=True), name
    ends = together.weights
    assert torch.cdist(ends, ends).add(torch.eye(len(ends)).double()).min() > 1e-3


@pytest.mark.parametrize("name", COUPLINGS)
def test_rows_that_are_never_read_stay_zero_under_every_coupling(name: str) -> None:
    """They never have a gradient; were they not zero, adaptive decay would blow them up."""
    training = Training([replace(RUN, decay=Decay(0.1, coupling=name))], "cpu", threads=1)
    training.advance(8)
    (history,) = training.histories(networks=True)
    assert (history.network["embed_source"][[PAD, START]] == 0).all()


def test_a_member_that_diverges_is_marked_and_disturbs_nobody() -> None:
    wild = replace(RUN, decay=Decay(1e15, coupling="decoupled"), steps=20)
    tame = replace(RUN, steps=20)
    together, solo = (Training(runs, "cpu", torch.float64, threads=1) for runs in ([wild, tame], [tame]))
    for training in (together, solo):
        training.advance(20)
    one, other = together.histories()
    assert one.diverged_at is not None and one.diverged_at <= 20 and other.diverged_at is None
    torch.testing.assert_close(together.weights[1], solo.weights[0], rtol=1e-8, atol=1e-10)
    assert torch.tensor(one.curves["test_error"][-1]).isnan()
    assert len(bleu(networks(together), TASK)) == 2 and len(translate(networks(together), "zwei")) == 2


def test_a_fork_goes_on_as_the_original() -> None:
    training = Training([RUN], "cpu", threads=1)
    training.advance(3)
    forked = training.fork()
    training.advance(5), forked.advance(5)
    assert torch.equal(training.weights, forked.weights)


def test_sweep_keeps_the_nets_and_finds_them_again(tmp_path) -> None:
    runs = [replace(RUN, seed=seed) for seed in range(2)]
    first = sweep(runs, device="cpu", jobs=1, store=Store(tmp_path), networks=True)
    again = sweep(runs, device="cpu", jobs=1, store=Store(tmp_path), networks=True)
    assert first.table.equals(again.table) and first.table["test_accuracy"].between(0, 1).all()
    kept = [[history.network for history in results.histories] for results in (first, again)]
    assert bleu(kept[0], TASK) == bleu(kept[1], TASK)


def test_a_lost_embedding_that_no_sentence_reads_counts_as_divergence() -> None:
    training = Training([replace(RUN, seed=seed) for seed in (0, 1)], "cpu", threads=1)
    training.advance(4)
    with torch.no_grad():
        training.model.get_parameter("embed_source")[0, START] = torch.inf
    training.advance(4)
    lost, healthy = training.histories()
    assert lost.diverged_at == RUN.steps and healthy.diverged_at is None
    assert torch.isnan(torch.tensor(lost.curves["test_error"][-1])) and lost.curves["train_loss"][1] < 10
