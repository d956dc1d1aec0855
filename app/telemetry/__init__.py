"""Runs as OpenTelemetry traces and metrics, for a collector that whoever runs the server names."""
