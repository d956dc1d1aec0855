"""The replay theatre: stored token times streamed again, two to four lanes on one clock."""
