"""The data gate: anomalies and drift of a window, judged by the policy."""
