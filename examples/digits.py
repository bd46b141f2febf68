"""Train a two-layer network on handwritten digits, from a plain NumPy loss.

The loss below is the NumPy that anyone would write.  `value_and_grad` turns it into one
compiled kernel; the same network with a gradient derived by hand stands beside it, to
check the numbers and to compare the time.

Run it with `python examples/digits.py`.
"""

import math
from pathlib import Path
from time import perf_counter

import matplotlib

matplotlib.use("Agg")  # write PNG files, open no window

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tracejit import value_and_grad

HIDDEN = 256
EPOCHS = 30
BATCH = 64
RATE = 4e-3
DECAY = 1e-4
OUTPUT = Path(__file__).parent / "output"


def load_data():
    """Return the 1,797 digit images as rows of 64 numbers in [0, 1], split in two."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(
        images / 16, labels, test_size=0.2, random_state=1, stratify=labels
    )


def initial_params(rng):
    """Return small random weights and zero biases."""
    return {
        "w1": rng.normal(size=(64, HIDDEN)) * np.sqrt(2 / 64),
        "b1": np.zeros(HIDDEN),
        "w2": rng.normal(size=(HIDDEN, 10)) * np.sqrt(1 / HIDDEN),
        "b2": np.zeros(10),
    }


def logits(params, x):
    """Return the score of each class for each image."""
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0)
    return hidden @ params["w2"] + params["b2"]


@value_and_grad
def loss(params, x, y):
    """Return the mean cross-entropy of the labels y, plus a little weight decay."""
    z = logits(params, x)
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    decay = np.sum(params["w1"] ** 2) + np.sum(params["w2"] ** 2)
    return -np.mean(log_p[np.arange(len(y)), y]) + DECAY * decay


def loss_by_hand(params, x, y):
    """Return the same loss and its gradient, derived on paper."""
    rows = np.arange(len(y))
    hidden = np.maximum(x @ params["w1"] + params["b1"], 0)
    z = hidden @ params["w2"] + params["b2"]
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    decay = np.sum(params["w1"] ** 2) + np.sum(params["w2"] ** 2)
    value = np.mean(np.log(total[:, 0]) - z[rows, y]) + DECAY * decay

    d_z = p / total
    d_z[rows, y] -= 1
    d_z /= len(y)
    d_hidden = (d_z @ params["w2"].T) * (hidden > 0)
    gradient = {
        "w1": x.T @ d_hidden + 2 * DECAY * params["w1"],
        "b1": d_hidden.sum(axis=0),
        "w2": hidden.T @ d_z + 2 * DECAY * params["w2"],
        "b2": d_z.sum(axis=0),
    }
    return value, gradient


def adam(params, b1=0.9, b2=0.999, eps=1e-8):
    """Return a function that moves params, in place, one step down a gradient."""
    mean = {name: np.zeros_like(p) for name, p in params.items()}
    square = {name: np.zeros_like(p) for name, p in params.items()}

    def update(step, rate, gradient):
        for name, g in gradient.items():
            mean[name] = b1 * mean[name] + (1 - b1) * g
            square[name] = b2 * square[name] + (1 - b2) * g**2
            m, s = mean[name] / (1 - b1**step), square[name] / (1 - b2**step)
            params[name] -= rate * m / (np.sqrt(s) + eps)

    return update


def batches(rng, x, y):
    """Yield the training set once, shuffled; the last batch is a smaller one."""
    order = rng.permutation(len(y))
    for start in range(0, len(y), BATCH):
        chosen = order[start : start + BATCH]
        yield x[chosen], y[chosen]


def accuracy(params, x, y):
    """Return the share of images whose best score is the right class."""
    return np.mean(logits(params, x).argmax(axis=1) == y)


def train(params, rng, x_train, x_test, y_train, y_test):
    """Train params in place; return the mean loss and test accuracy of each epoch."""
    update, history = adam(params), []
    steps_per_epoch = math.ceil(len(y_train) / BATCH)
    for epoch in range(1, EPOCHS + 1):
        first_step, values = 1 + (epoch - 1) * steps_per_epoch, []
        for step, (x, y) in enumerate(batches(rng, x_train, y_train), first_step):
            value, gradient = loss(params, x, y)
            rate = RATE * (1 - (step - 1) / (EPOCHS * steps_per_epoch))
            update(step, rate, gradient)
            values.append(value)
        history.append((np.mean(values), accuracy(params, x_test, y_test)))
        if epoch == 1 or epoch % 5 == 0:
            print(
                f"epoch {epoch:3}  loss {history[-1][0]:.4f}"
                f"  test accuracy {history[-1][1]:.1%}"
            )
    return np.array(history)


def microseconds(function, *args, repeats=300):
    """Return the median time of one call."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function(*args)
        times.append(perf_counter() - start)
    return 1e6 * np.median(times)


def save_learning_curve(history, path):
    """Draw loss and test accuracy over the epochs."""
    path.parent.mkdir(exist_ok=True)
    epochs = np.arange(1, len(history) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.semilogy(epochs, history[:, 0])
    left.set(xlabel="epoch", ylabel="training loss")
    right.plot(epochs, 100 * history[:, 1])
    right.axhline(97, color="grey", linestyle=":")
    right.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(80, 100))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Train, compare with the gradient by hand, and draw the learning curve."""
    rng = np.random.default_rng(0)
    x_train, x_test, y_train, y_test = load_data()
    params = initial_params(rng)

    history = train(params, rng, x_train, x_test, y_train, y_test)
    assert history[-1, 0] < 0.1 * history[0, 0]
    assert history[-1, 1] >= 0.97

    stats = loss.stats()
    print(f"\n{stats}\n")
    # Two batch shapes: two traces.  A new shape needs no new code: one kernel at most,
    # and none when an earlier run of this example left it on disk.
    assert stats.traces == stats.signatures == 2
    assert stats.kernels_compiled <= 1
    assert stats.guard_failures == 0

    fresh = initial_params(rng)
    x, y = x_train[:BATCH], y_train[:BATCH]
    value, gradient = loss(fresh, x, y)
    value_by_hand, gradient_by_hand = loss_by_hand(fresh, x, y)
    np.testing.assert_allclose(value, value_by_hand, rtol=1e-12)
    for name in fresh:
        np.testing.assert_allclose(
            gradient[name], gradient_by_hand[name], rtol=1e-9, atol=1e-12
        )
    print("one step, value and gradient, batch of 64")
    print(f"    tracejit           {microseconds(loss, fresh, x, y):6.0f} µs")
    print(f"    NumPy by hand      {microseconds(loss_by_hand, fresh, x, y):6.0f} µs")

    picture = OUTPUT / "digits.png"
    save_learning_curve(history, picture)
    assert picture.stat().st_size > 10_000
    print(f"\nlearning curve: {picture}")


if __name__ == "__main__":
    main()
