"""What was summed up of the runs, a quarter of an hour at a time, so that figures over many need not read them all."""
