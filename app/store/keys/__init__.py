"""The API's keys."""
