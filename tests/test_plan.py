"""What a plan counts is what is then done; planning trains and stores nothing."""

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import plan_chapter
import plan_paces
import plan_sizes
import pytest
from plan_work import Net, examples, update_of, work_left
from small import STRONG, WEAK, pair, spec

from kdcore import data, results, store
from kdcore import train as tr
from kdcore.measure import gain, outputs
from kdcore.spec import Data

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ON = dict(weak=WEAK, strong=STRONG, draws=2)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCORE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KDCORE_RESULTS", "")
    monkeypatch.setenv("KDCORE_WORKERS", "1")
    tr.frozen.cache_clear()


def asked(*calls):
    """What is noted of these calls (measurement, specs, arguments) while one plans."""
    with results.planning() as rows:
        for measurement, specs, arguments in calls:
            results.collect(measurement, specs, **arguments)
        return list(rows)


CALLS = [
    (outputs.model, [pair(temperature=t, epochs=25) for t in (1.0, 2.0)] + [spec()], ON),
    (gain.gain, [spec(), spec(seed=1)], {}),
    (outputs.best_epoch, [spec(seed=1)], {"images": 20}),
]


def test_planning_trains_and_stores_nothing_and_answers_with_nan(monkeypatch):
    monkeypatch.setenv("KDCORE_TRAIN", "0")
    monkeypatch.setattr(tr, "fit", lambda *a, **k: pytest.fail("trained"))
    rows = asked(*CALLS)
    assert len(rows) == 6 and not any(row.there for row in rows)
    assert [row.call for row in rows] == [0, 0, 0, 1, 1, 2]
    assert not store.root().exists()
    with pytest.raises(results.NotPublished):
        results.collect(gain.gain, [spec()])


def test_a_row_that_is_there_is_handed_over_while_others_are_nan():
    with ThreadPoolExecutor(1) as pool:
        known = results.collect(gain.gain, [spec()], executor=pool, progress=False)
    with results.planning() as rows:
        found = results.collect(gain.gain, [spec(), spec(seed=1)])
    assert [row.there for row in rows] == [True, False]
    assert found["accuracy test"][0] == known["accuracy test"][0]
    assert list(found["spec"]) == [spec().hash, spec(seed=1).hash]


def test_what_is_counted_is_what_is_then_done(monkeypatch):
    work, done = work_left(asked(*CALLS)), Counter()
    step, forward = tr.step, tr.forward

    def counted_step(body, optimiser, x, *rest, **named):
        done["updates"] += len(x)
        return step(body, optimiser, x, *rest, **named)

    def counted_forward(net, x, *rest):
        done["forward"] += len(x)
        return forward(net, x, *rest)

    monkeypatch.setattr(tr, "step", counted_step)
    monkeypatch.setattr(tr, "forward", counted_forward)
    monkeypatch.setattr(outputs, "forward", counted_forward)
    with ThreadPoolExecutor(1) as pool:
        for measurement, specs, arguments in CALLS:
            results.collect(measurement, specs, executor=pool, progress=False, **arguments)
    assert len(work.missing) == len(list((store.root() / "runs").glob("??/*/meta.json"))) == 6
    assert done["updates"] == work.updates.total()
    # teachers are not asked on every view that students are
    assert done["forward"] <= work.looks.total() <= 1.2 * done["forward"]
    recorded = sum(p.stat().st_size for p in store.root().glob("logits/*/*/arrays.safetensors"))
    assert recorded < 1.2 * work.logits + 10_000 and work.logits < 1.3 * recorded

    again = work_left(asked(*CALLS))
    assert again.rows == Counter(there=6) and not again.missing and not again.looks


def test_shared_logits_are_counted_once():
    """Two students of the same two teachers: 25 epochs of 64 images."""
    work = work_left(asked(CALLS[0]))
    assert work.heard_alone == 2 * 2 * 25 * 64 and work.heard == 2 * 25 * 64
    assert sorted(work.students.values()) == [2, 2]
    assert (len(work.wanted), len(work.missing)) == (5, 5)


def test_a_run_that_is_stored_is_not_trained_again_and_its_logits_are_not_recorded_again():
    teacher = spec(seed=101)
    student = spec(teachers=(teacher,), epochs=20)
    tr.train(student)
    work = work_left(asked((gain.gain, [student.model_copy(update={"model_seed": 9})], {})))
    assert [s.model_seed for s in work.missing.values()] == [9]
    assert work.heard == 0 and work.heard_alone == 20 * 64


def test_operations_and_bytes_of_a_small_network_by_hand():
    """8 x 8 grey pixels -> 8 -> 10: the first layer needs no gradient of its inputs."""
    size = plan_sizes.size_of(Net("mlp-8", 1, 10, (8, 8)))
    first, second = 2 * 64 * 8, 2 * 8 * 10
    assert size.forward == first + second
    assert size.both == 2 * first + 3 * second
    assert size.state == 4 * (64 * 8 + 8 + 8 * 10 + 10)


def test_operations_of_known_networks():
    """He et al. (2016): 1.8 and 3.8 billion multiply-adds at 224 pixels, here two each."""
    for name, billions in (("resnet18", 1.8), ("resnet50", 4.1)):
        size = plan_sizes.size_of(Net(name, 3, 1000, (224, 224)))
        assert size.forward == pytest.approx(2e9 * billions, rel=0.03)
        assert 2.8 < size.both / size.forward < 3.0


def test_every_kind_of_pass_is_timed_and_multiplied(monkeypatch):
    monkeypatch.setattr(plan_paces, "TIMED", 0.02)
    work = work_left(asked(CALLS[0], (gain.gain, [spec(model="linear")], {})))
    paces = plan_paces.measured_paces(work)
    parts = plan_paces.seconds(work, paces)
    for pace in (*parts.values(), *paces.updates.values(), *paces.looks.values()):
        assert 0 < pace.low <= pace.usual <= pace.high < math.inf
    trained = sum(n * paces.updates[kind].usual for kind, n in work.updates.items())
    assert parts["training"].usual == pytest.approx(trained)
    # two workers: a student waits for its teacher in the first call; the linear one for nobody
    student, teacher = (
        examples(s) * paces.updates[update_of(s)].usual
        for s in (pair(epochs=25), *pair(epochs=25).teachers[:1])
    )
    alone = examples(spec(model="linear")) * paces.updates[update_of(spec(model="linear"))].usual
    idle = plan_paces.waiting(work, paces, 2)
    assert idle == pytest.approx((student + teacher + alone) / 2)
    assert plan_paces.waiting(work, paces, 1) == 0
    assert plan_sizes.memory(work, 10**8) > 10**8 and not store.root().exists()


def test_data_that_are_not_here_are_stood_in_for_while_one_plans(monkeypatch):
    monkeypatch.delenv("KDCORE_DATA", raising=False)
    described = Data(name="ag_news", n_train=100, n_test=None, seed=0)
    with data.stand_ins() as absent:
        found = data.load(described)
        assert found.train_x.shape == (100, 64) and len(found.test_y) == 7600
        assert absent == {"ag_news"}
        with pytest.raises(ValueError, match="'imagenet' is not here"):
            data.check("imagenet")
    with pytest.raises(ValueError, match="'ag_news' is not here"):
        data.load(described)


# --------------------------------------------------------------------------------- a chapter's code


def cells(*sources):
    return [("seeds = 1", True), *((source, False) for source in sources)]


def chapter(*sources, **parameters):
    """(rows, what could not be asked for) of a made-up chapter."""
    before = (
        "from kdcore import results\nfrom kdcore.measure.gain import gain\nfrom small import spec"
    )
    with results.planning() as rows:
        unasked = plan_chapter.run(cells(before, *sources), parameters, rows)
        return rows, unasked


def test_a_chapter_is_run_past_what_needs_a_result():
    rows, unasked = chapter(
        "def measured(k):\n    return results.collect(gain, [spec(seed=k)])",
        "first = measured(0)\nbest = int(first['accuracy test'][0])\nlast = 3",
        "print(best)",
        "second = [measured(k) for k in range(1, last)]",
        "raise SystemError('after the last question nothing is run')",
    )
    assert [row.spec.model_seed for row in rows] == [0, 1, 2] and unasked == []


def test_parameters_are_those_given():
    rows, _ = chapter("results.collect(gain, [spec(seed=k) for k in range(seeds)])", seeds=4)
    assert len(rows) == 4


def test_a_question_that_depends_on_an_answer_makes_the_plan_incomplete():
    rows, unasked = chapter(
        "first = results.collect(gain, [spec(), spec(seed=1)])",
        "best = first['accuracy test'].idxmax()",
        "results.collect(gain, [spec(seed=int(best))])",
    )
    assert len(rows) == 2 and len(unasked) == 1 and "code cell 5, line 1" in unasked[0]


def test_a_statement_that_stops_after_its_last_question_leaves_nothing_out():
    ask = "    found = results.collect(gain, [spec(seed={})])\n    int(found['accuracy test'][0])"
    rows, unasked = chapter(
        "if seeds:\n" + ask.format(0),
        "for k in (1, 2):\n" + ask.format("k"),
        "results.collect(gain, [spec(seed=3)])",
    )
    assert [row.spec.model_seed for row in rows] == [0, 1, 3]
    assert len(unasked) == 1 and "code cell 4, line 1" in unasked[0]  # the loop went no further


def test_a_fault_before_any_row_is_missing_is_a_fault():
    with pytest.raises(ZeroDivisionError):
        chapter("1 / 0", "results.collect(gain, [spec()])")


def test_the_plan_of_a_chapter(monkeypatch, capsys):
    monkeypatch.setattr(plan_paces, "TIMED", 0.02)
    words = "-p dataset digits -p seeds 2 -p n_train 40 -p n_test 40 -p epochs 2 -p student cnn-4 "
    plan_chapter.main(["start_here", "--words", words + "-p teacher cnn-8 -p teacher_epochs 2"])
    said = capsys.readouterr().out
    assert "rows          7: 0 there, 7 missing" in said
    assert "runs          6 wanted: 6 to train, 0 not" in said
    assert "training      480 examples forward and backward" in said  # 6 runs, 2 epochs of 40
    assert "one H100" in said and "arithmetic" in said and "KDCORE_LOGITS_GB" in said
    assert "incomplete" not in said and not store.root().exists()


@pytest.mark.parametrize(
    "words, says",
    [
        (["no_such_chapter"], "There is no chapter no_such_chapter"),
        (["start_here", "--preset", "huge"], "start_here has no preset huge"),
        (["start_here", "-p", "seeds", "0"], "seeds = 0: must be at least 1"),
        (["start_here", "-p", "seed", "1"], "start_here has no parameter seed"),
    ],
)
def test_bad_input_is_one_sentence(words, says):
    with pytest.raises(SystemExit) as refused:
        plan_chapter.main(words)
    assert says in str(refused.value)


@pytest.mark.parametrize("name", [f.stem for f in NOTEBOOKS if f.stem != "verdicts"])
def test_every_chapter_can_be_planned(name):
    rows, unasked = plan_chapter.noted(name, {})
    assert rows and not any(row.there for row in rows) and unasked == []
