"""The data gate: verdict on the data of a window."""
