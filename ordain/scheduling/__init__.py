"""Scheduler: ticks, data changes, state on disk, export to systemd, cron and Kubernetes."""
