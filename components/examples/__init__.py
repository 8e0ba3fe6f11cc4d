"""ExampleGen: files of a span to shards of tf.Examples."""
