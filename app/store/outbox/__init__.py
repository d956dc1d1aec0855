"""Results on their way into the database: kept, retried, and written aside when nothing helps."""
