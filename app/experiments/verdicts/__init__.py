"""One configuration against another, what each gear changes, whether to ship."""
