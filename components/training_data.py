"""What a `run_fn` reads its batches from: `fn_args.data_accessor.tf_dataset_factory`, faster.

TFX's own reads, shuffles and parses row by row, and does all of it again for each epoch. This
one takes the same options and gives batches of the same form: it parses a shuffle buffer at a
time, and hands out batches of a permutation of it. Data that fits is read beside whatever the
program does next, and stays parsed in memory, so that later epochs read nothing. Rows of all files
are mixed before they are shuffled: with spans read one after another a model would end on whatever
month came last.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import tensorflow as tf
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.tfxio import dataset_options

from components.example_reader import untuned

#: Compressed bytes up to which the parsed rows are kept; parsed they take about five times that.
KEPT_BYTES = 128 * 2**20
#: Rows taken from one file before the next one's turn.
BLOCK_ROWS = 64
#: Files read side by side.
OPEN_FILES = 16
#: Batches made ahead of the training step.
PREFETCHED = 8

Factory = Callable[[list[str], dataset_options.TensorFlowDatasetOptions, Any], tf.data.Dataset]


def faster(stock: Factory) -> Factory:
    """A dataset factory that reads by the buffer; `stock` reads what it cannot.

    The result gives `(features, label)` or, without a label key, `features`: a dict of dense
    tensors `[batch, ...]` as the schema describes them. Sparse and ragged features go to `stock`.
    """

    def make(
        files: list[str], options: dataset_options.TensorFlowDatasetOptions, schema: Any = None
    ) -> tf.data.Dataset:
        spec = schema_utils.schema_as_feature_spec(schema).feature_spec if schema else {}
        is_dense = all(isinstance(s, tf.io.FixedLenFeature) for s in spec.values())
        if not spec or not is_dense:
            return stock(files, options, schema)
        return _Reader(sorted(tf.io.gfile.glob(list(files))), options, spec).dataset()

    return make


def release() -> None:
    """Gives up the rows that datasets of this process keep; none may be iterated any more.

    TensorFlow keeps the generator of a dataset as long as the process lives.
    """
    for kept in _Kept.made:
        kept.give_up()


class _Kept:
    """Buffers of parsed rows, read once, from now on, and kept.

    While they are read the model is built and its training step traced, and while it trains, the
    rows that it is evaluated on are read: one dataset at a time, in the order they were made in.
    """

    made: ClassVar[weakref.WeakSet[_Kept]] = weakref.WeakSet()
    _reading = ThreadPoolExecutor(1, thread_name_prefix="ordain-training-data")

    def __init__(self, parsed: tf.data.Dataset) -> None:
        self._spec = parsed.element_spec
        self._buffers: list[Any] = []
        self._changed = threading.Condition()
        self._is_over = False
        self.made.add(self)
        self._read = self._reading.submit(self._fill, parsed)

    def dataset(self) -> tf.data.Dataset:
        """The buffers; each iteration begins with the first."""
        return tf.data.Dataset.from_generator(self._all, output_signature=self._spec)

    def _fill(self, parsed: tf.data.Dataset) -> None:
        try:
            for buffer in parsed.with_options(untuned()):
                with self._changed:
                    if self._is_over:  # given up
                        break
                    self._buffers.append(buffer)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _all(self) -> Iterator[Any]:
        for number in itertools.count():
            with self._changed:
                self._changed.wait_for(functools.partial(self._knows, number))
                if len(self._buffers) <= number:
                    break
            yield self._buffers[number]
        self._read.result()  # raises what reading ended with

    def give_up(self) -> None:
        """Reads no more, and forgets what was read."""
        self._read.cancel()
        with self._changed:
            self._is_over = True
            self._buffers.clear()

    def _knows(self, number: int) -> bool:
        """Whether that buffer is there, or will never be."""
        return len(self._buffers) > number or self._is_over


class _Reader:
    """The files of one split, read with one set of options."""

    def __init__(
        self,
        files: list[str],
        options: dataset_options.TensorFlowDatasetOptions,
        spec: dict[str, Any],
    ) -> None:
        self._files = files
        self._options = options
        self._spec = spec
        self._batch = options.batch_size
        seed = options.shuffle_seed
        self._seed = int(tf.random.uniform([], 0, 2**31 - 1, tf.int32)) if seed is None else seed

    def dataset(self) -> tf.data.Dataset:
        """The batches."""
        size = sum(tf.io.gfile.stat(file).length for file in self._files)
        batches = max(1, self._options.shuffle_buffer_size // self._batch)
        buffers = self._records().batch(batches * self._batch, drop_remainder=False)
        parsed = buffers.map(lambda records: tf.io.parse_example(records, self._spec))
        if size <= KEPT_BYTES:
            parsed = _Kept(parsed).dataset()
        # Without a number of epochs it goes on for ever, as TFX's own does.
        parsed = parsed.repeat(self._options.num_epochs).enumerate()
        return parsed.flat_map(self._batches).prefetch(PREFETCHED).with_options(untuned())

    def _records(self) -> tf.data.Dataset:
        def read(file: tf.Tensor) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(file, "GZIP")

        files = tf.data.Dataset.from_tensor_slices(self._files)
        if not self._options.shuffle:
            return files.flat_map(read)
        width = min(OPEN_FILES, len(self._files))
        return files.interleave(
            read,
            cycle_length=width,
            block_length=BLOCK_ROWS,
            num_parallel_calls=min(2, width),
            deterministic=True,
        )

    def _batches(self, number: tf.Tensor, features: dict[str, tf.Tensor]) -> tf.data.Dataset:
        """One buffer's rows, in an order that differs with every buffer and epoch."""
        rows = tf.shape(next(iter(features.values())))[0]
        order = tf.range(rows)
        if self._options.shuffle:
            seed = tf.stack([tf.cast(self._seed, tf.int64), number])
            order = tf.random.experimental.stateless_shuffle(order, seed)

        def take(start: tf.Tensor) -> Any:
            wanted = order[start : start + self._batch]
            taken = {name: tf.gather(values, wanted) for name, values in features.items()}
            label = self._options.label_key
            return (taken, taken.pop(label)) if label else taken

        # Shuffled, other rows are left over in each epoch; in a fixed order it would be the same.
        is_endless = self._options.num_epochs is None and self._options.shuffle
        is_partial_dropped = self._options.drop_final_batch or is_endless
        end = rows - rows % self._batch if is_partial_dropped else rows
        # Fewer rows than a batch would otherwise give no batch at all, for ever.
        end = tf.where(rows < self._batch, rows, end)
        starts = tf.data.Dataset.range(0, tf.cast(end, tf.int64), self._batch)
        return starts.map(lambda start: take(tf.cast(start, tf.int32)), num_parallel_calls=2)
