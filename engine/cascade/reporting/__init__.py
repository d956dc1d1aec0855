"""What a threshold gives on recorded answers: figures with intervals."""
