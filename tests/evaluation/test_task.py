from dataclasses import replace

from quantart.evaluation.task import ReconstructionTask, TransferTask


def test_batches_hold_each_pair_once_and_a_photographs_pairs_together(task: TransferTask) -> None:
    parts = task.batches(4)
    assert [len(part) for part in parts] == [4, 4, 2]
    numbers = [number for part in parts for number in part]
    assert sorted(numbers) == list(range(10))
    contents = [task.pairs[number][0] for number in numbers]
    assert contents == sorted(contents)


def test_the_digest_tells_pairs_their_order_and_their_size_apart(task: TransferTask) -> None:
    same = replace(task, pairs=list(task.pairs))
    others = [
        replace(task, pairs=task.pairs[:-1]),
        replace(task, pairs=task.pairs[::-1]),
        replace(task, side=16),
        replace(task, contents=task.styles, styles=task.contents, pairs=[(s, c) for c, s in task.pairs]),
    ]
    assert same.digest == task.digest
    assert len({task.digest, *(other.digest for other in others)}) == 5
    assert ReconstructionTask(task.styles, 32).digest != ReconstructionTask(task.contents, 32).digest
