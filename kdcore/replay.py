"""A training step that a CUDA device plays from a recording: one launch in place of some hundred,
for each of which a small network would wait.

A recording (a CUDA graph) repeats the same work on the same memory. So inputs are copied to where
they were when it was made, and what changes from step to step, the learning rate too, lies on the
device. The arithmetic is that of the function itself.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

WARM = 3  # calls before the recording: cuDNN chooses, the optimiser makes its moments


def apart(function: Callable) -> tuple:
    """Calls a function on a stream of its own, as CUDA asks of what is going to be recorded."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = function()
    torch.cuda.current_stream().wait_stream(stream)
    return outputs


def recording(function: Callable) -> tuple[Callable, tuple]:
    """(play, outputs): the function's work as a CUDA graph, not done yet, and the tensors that each
    `play()` writes to. RuntimeError where it cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function()
    return graph.replay, outputs


class Replayed:
    """function(*tensors) -> tensors, which from its fourth call on is played from a recording.

    Every call has inputs of the first one's shapes, and overwrites what the call before returned.
    A function that cannot be recorded is called as it is, after a warning.
    """

    def __init__(self, function: Callable):
        self.function, self.calls, self.inputs, self.play = function, 0, [], None

    def __call__(self, *inputs: Tensor) -> tuple:
        self.inputs = self.inputs or [x.clone() for x in inputs]
        for here, x in zip(self.inputs, inputs, strict=True):
            here.copy_(x)
        self.calls += 1
        if self.calls <= WARM:
            return apart(self.again)
        if self.calls == WARM + 1:
            try:
                self.play, self.outputs = recording(self.again)
            except RuntimeError as error:
                warnings.warn(f"steps are not recorded, which is slower: {error}", stacklevel=2)
        if self.play is None:
            return self.again()
        self.play()
        return self.outputs

    def again(self) -> tuple:
        return self.function(*self.inputs)
