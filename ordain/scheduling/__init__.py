"""The scheduler: ticks, watched folders, its state on disk, exports to systemd and cron."""
