"""Alerts: rules, what fires and who is told of it, and which server looks after them."""
