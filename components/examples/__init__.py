"""ExampleGen: files of a span become shards of tf.Examples."""
