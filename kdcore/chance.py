"""Every stream of random numbers that examples, their order and their views are drawn from.

A stream is a pure function of its key: the raw 64-bit words of Philox, a generator that counts, so
nothing has a state that something else could move, and a word can be had without those before it.
Raw words, because numpy may map them to numbers, or to an order, otherwise in its next version. A
key has two words, and each purpose has a number, so that two purposes of one seed are independent.

    (purpose, seed)                  drawn once for a run: which examples, which labels are wrong.
                                     A purpose is six letters of ASCII as a number, "kddraw" and so
                                     on, above 2^46
    (purpose << 32 | seed, epoch)    drawn anew in each epoch: batch order and views. A purpose is
                                     1, 2 or 3, and seeds are below 2^31: the first word is below
                                     2^34, so no key of this kind coincides with one of the other

What else is drawn has its own generator where it is used, seeded by a field of the spec: initial
weights (kdcore.models); or by a constant: resampling in statistics and metrics.

A published purpose never changes: with it, every number of the book would.
"""

import numpy as np

# Once for a run.
DRAW = 0x6B64_6472_6177  # which training examples are taken, and their order
TAIL = 0x6B64_7461_696C  # the order of those that a long tail leaves
NOISE = 0x6B64_6E6F_6973  # which labels are replaced
NOISE_CLASS = 0x6B64_6E63_6C73  # and by which class
DEALT = 0x6B64_6465_616C  # whose logits each example is given
# Once and for all, with seed 0: what these data sets are.
DIGITS_SPLIT = 0x6B64_7370_6C74  # which digits are test images
PAIRS = 0x6B64_7061_6972  # the lower garment of each pair; seed 1: of the test part
TEST_ORDER = 0x6B64_7465_7874  # an order of test examples that mixes the classes
GLOSSES = 0x6B64_676C_6F73  # which glosses of WordNet were embedded (scripts/)

# In each epoch.
VIEWS = 1  # what augmentation does to each image
ORDER = 2  # batch order
FRAMES = 3  # crop, rotation and jitter of each image, in the views of 224 pixels


def stream(purpose: int, seed: int, n: int) -> np.ndarray:
    """The first n words of a stream that is drawn once, uint64 (n,)."""
    return np.random.Philox(key=np.array([purpose, seed], dtype=np.uint64)).random_raw(n)


def permutation(purpose: int, seed: int, n: int) -> np.ndarray:
    """An order of 0 ... n - 1 that is drawn once: the ranks of the words of `stream`."""
    return np.argsort(stream(purpose, seed, n), kind="stable")


def epoch_key(purpose: int, seed: int, epoch: int) -> np.ndarray:
    """The key of a stream that is drawn anew in each epoch, uint64 (2,)."""
    return np.array([purpose << 32 | seed, epoch], dtype=np.uint64)


def epoch_stream(purpose: int, seed: int, epoch: int, n: int) -> np.ndarray:
    """The first n words of an epoch's stream, uint64 (n,)."""
    return np.random.Philox(key=epoch_key(purpose, seed, epoch)).random_raw(n)


def order(order_seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of the n examples in one epoch, a pure function of (order_seed, epoch)."""
    return np.argsort(epoch_stream(ORDER, order_seed, epoch, n), kind="stable")


def uniforms(purpose: int, seed: int, epoch: int, n: int, columns: int) -> np.ndarray:
    """(n, columns) numbers in [0, 1): row i depends on (purpose, seed, epoch, i) alone."""
    words = epoch_stream(purpose, seed, epoch, n * columns)
    return (words >> 11).reshape(n, columns) * 2.0**-53


def uniform_rows(
    purpose: int, seed: int, epoch: int, index: np.ndarray, columns: int
) -> np.ndarray:
    """(len(index), columns) numbers in [0, 1): these rows of the table `uniforms`, without the
    others. Philox makes four words per count, so `columns` is a multiple of four.
    """
    key = epoch_key(purpose, seed, epoch)
    raw = [
        np.random.Philox(key=key, counter=int(i) * columns // 4).random_raw(columns) for i in index
    ]
    return (np.stack(raw) >> 11) * 2.0**-53
