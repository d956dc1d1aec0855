"""The form in which a person chooses what a run is made with."""
