"""Ids of the pipeline's nodes, as ML Metadata, run folders and compiled files name them."""

from enum import StrEnum


class NodeId(StrEnum):
    """A node of the pipeline; the members stand in the order in which the nodes run."""

    def __repr__(self) -> str:
        """The id in quotes, as messages that list names show it."""
        return repr(self.value)

    EXAMPLE_GEN = "ExampleGen"
    STATISTICS_GEN = "StatisticsGen"
    SCHEMA_GEN = "SchemaGen"
    EXAMPLE_VALIDATOR = "ExampleValidator"
    DATA_GATE = "DataGate"
    ANALYZER_CACHE = "AnalyzerCache"
    TRANSFORM = "Transform"
    TUNER = "Tuner"
    BASE_MODEL = "BaseModel"
    TRAINER = "Trainer"
    BASELINE = "Baseline"
    EVALUATOR = "Evaluator"
    STABLE = "Stable"
    SERVER_GATE = "ServerGate"
    PUSHER = "Pusher"
