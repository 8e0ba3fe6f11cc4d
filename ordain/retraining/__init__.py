"""The decision whether to retrain: facts, triggers, blockers, log."""
