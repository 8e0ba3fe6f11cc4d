"""Base class of our Beam executors, worker process, prefetching and restored errors."""
