"""Who computes next: the jobs that wait, those that run, and the one thread that does their passes."""
